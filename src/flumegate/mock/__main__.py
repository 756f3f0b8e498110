"""`python -m flumegate.mock`: the fake provider without the rest of the command line."""

from __future__ import annotations

import sys

from flumegate.mock.server import main

if __name__ == "__main__":
    sys.exit(main())
