"""Stored responses: the content of a request to `/v1/responses` that was translated, for the key that made it.

Nothing is written for them: the Record tells whose they are, its content what was said. A deletion empties the content
and leaves its row, so that a segment of the spool that is read a second time cannot bring it back.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, func, select, update

from flumegate.records.stored import Stored, Wanted
from flumegate.store.database import Database
from flumegate.store.queries import bindable
from flumegate.store.tables import contents, requests

MOST_BYTES = 32 * 1024 * 1024
"""Of both bodies: what is told must fit through the link."""


def find_response(connection: Connection, wanted: Wanted) -> Stored:
    """Return the bodies of a stored response; the state tells why there are none."""
    sizes = (func.length(contents.c.request_body), func.length(contents.c.response_body))
    query = select(requests.c.response_bytes, *sizes).join(contents, contents.c.id == requests.c.id)
    row = connection.execute(query.where(requests.c.id == bindable(wanted.id), *_kept_for(wanted))).one_or_none()
    if row is None:
        return Stored("unknown")
    sent, request_size, response_size = row
    if not response_size:
        return Stored("deleted")  # every answer has a body
    if response_size < sent:
        return Stored("cut")
    if request_size + response_size > MOST_BYTES:
        return Stored("too_large")
    bodies = select(contents.c.request_body, contents.c.response_body).where(contents.c.id == bindable(wanted.id))
    return Stored("found", *connection.execute(bodies).one())


def forget_response(database: Database, wanted: Wanted) -> None:
    """Empty the content of a response; the Record stays.

    Raises:
        StoreUnavailable: the database cannot be used now; nothing is deleted.
    """
    owned = select(requests.c.id).where(requests.c.id == bindable(wanted.id), *_kept_for(wanted))
    with database.transaction() as connection:
        connection.execute(update(contents).where(contents.c.id.in_(owned)).values(request_body=b"", response_body=b""))


def _kept_for(wanted: Wanted) -> tuple[ColumnElement[bool], ...]:
    """Return what makes a Record a stored response of whoever asks."""
    return (
        requests.c.key_id == bindable(wanted.key_id),
        requests.c.project == bindable(wanted.project),
        requests.c.endpoint == "responses",
        requests.c.lane == "translated",
        requests.c.status == 200,
        requests.c.outcome == "ok",
    )
