"""What endpoints take from a request besides its body: the desk, who asks, which version is meant, what page.

A POST with an Idempotency-Key is a promise: sent again, it is answered again and done once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Depends, Header, Query, Request, Response
from pydantic import BaseModel

from flumegate.console.permission import Permission
from flumegate.console.problems import ConsoleError
from flumegate.manage.actor import Actor, Once
from flumegate.manage.desk import Desk
from flumegate.store import rows
from flumegate.store.rows import Place

MOST_ON_A_PAGE = 100
PAGE = 20
IDEMPOTENCY_HEADER = "Idempotency-Key"
LONGEST_KEY = 200
_T = TypeVar("_T")
_S = TypeVar("_S", bound=BaseModel)


def _desk(request: Request) -> Desk:
    desk: Desk | None = request.app.state.desk()
    if desk is None:
        raise ConsoleError(503, "store_unavailable", "The store is not open yet. Try again shortly.")
    return desk


DeskOf = Annotated[Desk, Depends(_desk)]
"""A parameter through which an endpoint gets at the desk."""


def _actor(request: Request) -> Actor:
    actor: Actor = request.state.actor
    return actor._replace(endpoint=request.scope["route"].path)


ActorOf = Annotated[Actor, Depends(_actor)]
"""Who asks."""


def _rights(request: Request) -> frozenset[Permission]:
    rights: frozenset[Permission] = request.state.permissions
    return rights


RightsOf = Annotated[frozenset[Permission], Depends(_rights)]
"""What the caller may do, where that depends on what is asked."""


class Asked(NamedTuple):
    """A POST, and how its answer is made."""

    actor: Actor
    key: str
    """The Idempotency-Key; empty = none."""
    digest: bytes

    def answer(self, perform: Callable[[Actor], _T], shape: Callable[[_T], _S], status: int = 200) -> Response:
        """Perform the operation once, and return its answer."""

        def render(result: Any) -> bytes:  # noqa: ANN401 - what this operation returns, and `shape` takes
            return shape(result).model_dump_json().encode()

        once = Once(self.key, self.digest, status, render) if self.key else None
        return Response(render(perform(self.actor._replace(once=once))), status, media_type="application/json")


async def _asked(
    request: Request,
    key: Annotated[
        str, Header(alias=IDEMPOTENCY_HEADER, description="Sent again with it, the request is done once.")
    ] = "",
) -> Asked:
    if len(key) > LONGEST_KEY or not all(" " < letter <= "~" for letter in key):
        raise ConsoleError(
            400, "invalid_idempotency_key", f"An Idempotency-Key has up to {LONGEST_KEY} visible characters of ASCII."
        )
    said = f"{request.method} {request.url.path}\n".encode("utf-8", "surrogateescape") + await request.body()
    return Asked(_actor(request), key, hashlib.sha256(said).digest())


AskedOf = Annotated[Asked, Depends(_asked)]
"""A POST that is done once however often it is sent."""


def _version(
    given: Annotated[
        str, Header(alias="If-Match", description="The version that is to be changed, and no other.")
    ] = "",
) -> int | None:
    given = given.strip()
    if not given or given == "*":
        return None
    text = given.removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ConsoleError(400, "invalid_version", 'If-Match takes the version that a GET has shown, as in "3".')
    return int(text)


VersionOf = Annotated[int | None, Depends(_version)]
"""The version that the caller has seen, from If-Match; None = whatever it is."""


class Position(NamedTuple):
    """Where a list goes on."""

    after: Place | None
    limit: int


def _position(
    limit: Annotated[int, Query(ge=1, le=MOST_ON_A_PAGE, description="Entries on a page.")] = PAGE,
    cursor: Annotated[str | None, Query(max_length=400, description="`next` of the page before.")] = None,
) -> Position:
    return Position(None if cursor is None else read_cursor(cursor), limit)


PositionOf = Annotated[Position, Depends(_position)]
"""The page of a list."""


def write_cursor(last: Place | None) -> str | None:
    """Return the text that names a place in a list; opaque to whoever gets it."""
    return None if last is None else rows.write_cursor(last)


def read_cursor(text: str) -> Place:
    """Return the place that a cursor names.

    Raises:
        ConsoleError: it is none of ours.
    """
    try:
        return rows.read_cursor(text)
    except ValueError as problem:
        raise ConsoleError(400, "invalid_cursor", "Send as cursor what `next` of the page before said.") from problem


def versioned(response: Response, version: int) -> None:
    """Tell the version for If-Match."""
    response.headers["etag"] = f'"{version}"'
