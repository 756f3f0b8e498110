"""What may stop, change or answer a request: one ordered list of plain functions.

A gate takes the exchange and returns nothing; to refuse, it raises a GatewayError. Gates run before anything is sent
upstream; the order is the order of this list, and `flumegate explain` prints it.
"""

from __future__ import annotations

from collections.abc import Callable

from flumegate.exchange import Exchange
from flumegate.gates.authenticate import authenticate

Gate = Callable[[Exchange], None]

GATES: tuple[Gate, ...] = (authenticate,)
"""authenticate · (authorise · rewrite · limit · budget · cache join here with their releases)."""
