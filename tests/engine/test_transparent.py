from __future__ import annotations

import pytest

from flumegate.door.upload import Upload
from flumegate.engine.transparent import plan_transparent
from rig import exchanges
from rig.plans import planner_of


class Open:
    """A client that sends whatever it likes."""

    def hold(self) -> None: ...

    def release(self) -> None: ...

    def invite(self) -> None: ...


def model_of(form: bytes) -> str:
    """Return the model that is read from the beginning of a form."""
    known = exchanges.snapshot(exchanges.provider(), default_provider="up")
    exchange = exchanges.exchange(path=b"/v1/audio/transcriptions", known=known)
    upload = exchange.upload = Upload(Open(), None)
    upload.push(form)
    plan_transparent(exchange, planner_of(known))
    return exchange.model_requested


@pytest.mark.parametrize(
    ("form", "model"),
    [
        (b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--x--\r\n', "whisper-1"),
        (b"--x\r\ncontent-disposition: form-data;name=model\r\n\r\nwhisper-1\r\n", "whisper-1"),
        (b'--x\r\nc: form-data; name="model"\r\ncontent-type: text/plain\r\n\r\nm\r\n', "m"),
        (b'--x\r\nc: form-data; name="file"; filename="model"\r\n\r\nsecret\r\n', ""),
        (b'--x\r\nc: form-data; filename="name"; name="model"\r\n\r\nm\r\n', "m"),
        (b'--x\r\nc: form-data; name="model"\r\n', ""),
    ],
)
def test_the_model_in_a_form_is_the_field_of_that_name(form: bytes, model: str) -> None:
    """A file that happens to be called `model` names none."""
    assert model_of(form) == model


def test_a_form_full_of_models_is_read_in_one_go() -> None:
    """However many lines look like the beginning of the field, each is looked at a few times at most."""
    assert model_of(b"c: form-data; name=model\r\n" * 100_000) == ""
