"""What would become of a request: asked of a worker, since workers are where such things are decided."""

from __future__ import annotations

from flumegate.manage.workers import RefusedError, Workers
from flumegate.records.manage import UNAVAILABLE, Explain, Explained, Refused


async def explain(workers: Workers, question: Explain) -> bytes:
    """Return the explanation, a JSON object.

    Raises:
        RefusedError: no worker answers, or the request cannot be explained.
    """
    answer = await workers.ask_one(question)
    if isinstance(answer, Explained):
        return answer.json
    raise RefusedError(answer if isinstance(answer, Refused) else UNAVAILABLE)
