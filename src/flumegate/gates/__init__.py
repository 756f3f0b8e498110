"""What may stop, change or answer a request: one ordered list of plain functions.

A gate takes the exchange and returns nothing; to refuse, it raises a GatewayError. These run before a body is read;
`permit` follows once the model is known, then limits and budgets (`engine.meter`). The order is the order of this list,
and `flumegate explain` prints it.
"""

from __future__ import annotations

from collections.abc import Callable

from flumegate.exchange import Exchange
from flumegate.gates.authenticate import authenticate
from flumegate.gates.authorise import authorise
from flumegate.gates.keyring import Keyring

Gate = Callable[[Exchange, Keyring], None]

GATES: tuple[Gate, ...] = (authenticate, authorise)
"""authenticate · authorise · (permit · limit · budget, once the model is known; rewrite and cache join here later)."""
