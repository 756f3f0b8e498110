from __future__ import annotations

import json

from flumegate.dialects.anthropic.messages import CODEC as OWN
from flumegate.dialects.anthropic.messages.vertex import CODEC, VERSION
from flumegate.ir.written import Abilities

BODY = {
    "model": "claude-haiku-4-5",
    "max_tokens": 64,
    "stream": True,
    "messages": [{"role": "user", "content": "Hi"}],
    "container": "c-1",
}


def test_the_model_leaves_the_body_and_the_version_joins_it() -> None:
    """All else of a request of Anthropic's own clients stays, members that nobody else knows included."""
    assert OWN.read_request is not None
    assert OWN.write_request is not None
    assert CODEC.write_request is not None
    request = OWN.read_request(json.dumps(BODY).encode())
    written = CODEC.write_request(request, Abilities("claude-haiku-4-5"))
    sent = json.loads(written.body)
    assert sent.pop("anthropic_version") == VERSION
    own = OWN.write_request(request, Abilities("claude-haiku-4-5"))
    assert sent == {name: value for name, value in json.loads(own.body).items() if name != "model"}
    assert (sent["stream"], sent["container"]) == (True, "c-1")
    assert written.losses == own.losses == ()


def test_answers_are_anthropics_own() -> None:
    """Only requests differ."""
    assert CODEC._replace(name=OWN.name, title=OWN.title, write_request=OWN.write_request) == OWN
