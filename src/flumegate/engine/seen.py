"""What the record wants to know of an answer that was read, not tapped.

Where the upstream does not say what an answer cost, its tokens are estimated from the texts.
"""

from __future__ import annotations

from flumegate.dialects.tap import Tap
from flumegate.ir import estimate
from flumegate.ir.answer import Answer
from flumegate.ir.request import Request


class Seen(Tap):
    """Model, usage and finish reason of one answer."""

    def __init__(self, request: Request | None = None) -> None:
        """Without a request nothing is estimated."""
        self._request = request
        self._said_bytes = 0

    def hear(self, text: str) -> None:
        """Count a piece of the answer's text."""
        self._said_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))

    def note(self, answer: Answer) -> None:
        """Take what an answer in one piece tells."""
        self.model = answer.model
        self.usage = answer.usage
        if answer.choices:
            finish = answer.choices[0].finish
            self.finish_reason = finish.raw or finish.reason
        self.complete = True
        if answer.usage is None:
            self._said_bytes = estimate.said_bytes(answer)
        self.close()

    def close(self) -> None:
        """There is no more: as far as the provider has not said the usage it is estimated, if an answer had begun."""
        request = self._request
        if request is None or (self.usage is not None and self._is_counted()):
            return
        if self._said_bytes or self.complete:
            self._take_at_least(self.said_tokens(0), lambda: estimate.input_tokens(request))

    def _is_counted(self) -> bool:
        return self.complete or bool(self.finish_reason)

    def said_tokens(self, response_bytes: int) -> int:  # noqa: ARG002 - the texts themselves were counted
        """See `Tap.said_tokens`."""
        return estimate.output_tokens(self._said_bytes)

    def has_grown(self, response_bytes: int) -> bool:  # noqa: ARG002 - there is nothing to weigh
        """See `Tap.has_grown`."""
        return False

    def said_so_far(self, response_bytes: int, *, weigh: bool) -> int:  # noqa: ARG002 - likewise
        """See `Tap.said_so_far`."""
        return self.said_tokens(response_bytes)
