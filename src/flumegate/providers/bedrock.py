"""Amazon Bedrock: one host for each region, the model in the path (Amazon Bedrock API reference, "Converse").

Model names hold colons and may be whole ARNs with slashes, so a name is one segment of the path, encoded.
"""

from __future__ import annotations

import re
from urllib.parse import quote

SERVICE = "bedrock"
"""The name that signatures have for `bedrock-runtime`, too."""
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")


def is_region(text: str) -> bool:
    """Tell whether this can be a region, as in `eu-central-1`."""
    return _REGION.fullmatch(text) is not None


def origin(region: str) -> str:
    """Return where the API of a region stands."""
    return f"https://bedrock-runtime.{region}.amazonaws.com"


def model_path(model: str, *, streamed: bool) -> str:
    """Return the path of a request for an answer, encoded once, as it is sent: `/model/…%3A0/converse`."""
    return f"/model/{quote(model, safe='-_.~')}/{'converse-stream' if streamed else 'converse'}"
