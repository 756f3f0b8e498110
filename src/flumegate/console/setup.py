"""`/manage/setup`: how the first owner gets in, before there is any token of the console."""

from __future__ import annotations

from fastapi import Response

from flumegate.console.endpoint import Endpoint
from flumegate.console.fields import Body, Name, SecretText
from flumegate.console.guard import SETUP_PATH
from flumegate.console.permission import SET_UP
from flumegate.console.problems import ConsoleError
from flumegate.console.request import ActorOf, DeskOf
from flumegate.console.tokens import IssuedTokenShape, shape_issued
from flumegate.manage import setup


class SetupBody(Body):
    """The setup token that the first start has printed."""

    setup_token: SecretText
    name: Name = "first owner"


def post_setup(desk: DeskOf, actor: ActorOf, body: SetupBody) -> Response:
    """Exchange the setup token, which works once, for the token of an owner."""
    if desk.head is None:
        raise ConsoleError(503, "store_unavailable", "This console has no data folder.")
    issued = setup.exchange(desk, actor, desk.head.parent, body.setup_token, body.name)
    return Response(shape_issued(issued, desk).model_dump_json(), 201, media_type="application/json")


ENDPOINTS = (Endpoint("POST", SETUP_PATH, post_setup, SET_UP, IssuedTokenShape, 201),)
