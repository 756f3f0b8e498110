"""What every test run shares: how many examples the property tests try."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fuzz", max_examples=5_000, print_blob=True)
