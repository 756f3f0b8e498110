"""`/manage/audit`: who did what; whether the trail is whole; the trail itself, as JSON lines."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, Field

from flumegate.console.endpoint import Endpoint
from flumegate.console.fields import as_time, as_unix
from flumegate.console.permission import READ_AUDIT
from flumegate.console.problems import ConsoleError
from flumegate.console.request import MOST_ON_A_PAGE, PAGE, DeskOf
from flumegate.manage import audit
from flumegate.manage.audit import Filters
from flumegate.store.audit import StoredEntry

MOST_EXPORTED = 10_000
_Sequence = Annotated[int, Path(ge=1, lt=2**62)]
_Text = Annotated[str, Query(max_length=200)]


class JsonLines(Response):
    """One object a line."""

    media_type = "application/x-ndjson"


class AuditShape(BaseModel):
    """An entry."""

    sequence: int
    at: datetime | None
    actor: str
    action: str
    target: str
    project: str
    outcome: str
    request_id: str
    client: str
    details: dict[str, Any]
    hash: str = Field(description="Binds it to the entries before it.")


class AuditPageShape(BaseModel):
    """A page of entries, newest first."""

    entries: list[AuditShape]
    next: str | None = Field(description="Send it as cursor for the next page; null = that was all.")


class VerdictShape(BaseModel):
    """Whether the trail is as it was written."""

    whole: bool
    entries: int
    fault: str | None


def _filters(  # noqa: PLR0913 - one for each query parameter
    *,
    action: _Text = "",
    actor: _Text = "",
    target: _Text = "",
    project_id: _Text = "",
    outcome: _Text = "",
    client: _Text = "",
    request_id: _Text = "",
    correlation_id: _Text = "",
    search: Annotated[str, Query(max_length=200, description="Part of anything in it.")] = "",
    since: Annotated[AwareDatetime | None, Query(description="From then on.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before then.")] = None,
) -> Filters:
    return Filters(
        action=action,
        actor=actor,
        target=target,
        project=project_id.replace("\0", ""),
        outcome=outcome,
        client=client,
        request_id=request_id,
        correlation_id=correlation_id,
        since=as_unix(since),
        until=as_unix(until),
        text=search,
    )


def list_audit(
    desk: DeskOf,
    filters: Annotated[Filters, Depends(_filters)],
    limit: Annotated[int, Query(ge=1, le=MOST_ON_A_PAGE)] = PAGE,
    cursor: Annotated[str | None, Query(max_length=400)] = None,
) -> AuditPageShape:
    """Find entries, newest first."""
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and 0 < int(cursor) < 2**62):
        raise ConsoleError(400, "invalid_cursor", "Send as cursor what `next` of the page before said.")
    found, following = audit.search(desk, filters, before=None if cursor is None else int(cursor), limit=limit)
    return AuditPageShape(
        entries=[shape_entry(each) for each in found], next=None if following is None else str(following)
    )


def get_audit_entry(desk: DeskOf, sequence: _Sequence) -> AuditShape:
    """Show an entry."""
    found = audit.find(desk, sequence)
    if found is None:
        raise ConsoleError(404, "audit_entry_not_found", "There is no entry of that number.")
    return shape_entry(found)


def verify_audit(desk: DeskOf) -> VerdictShape:
    """Read the whole trail and tell whether it is as it was written."""
    verdict = audit.verify(desk)
    return VerdictShape(whole=verdict.fault is None, entries=verdict.entries, fault=verdict.fault)


def export_audit(
    desk: DeskOf,
    after: Annotated[int, Query(ge=0, lt=2**62, description="Sequence number of the last entry that you have.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_EXPORTED)] = MOST_EXPORTED,
) -> Response:
    """Return entries as JSON lines, oldest first, with hash and MAC; go on after the last one's sequence."""
    return JsonLines(b"".join(audit.export(desk, after=after, limit=limit)))


def shape_entry(stored: StoredEntry) -> AuditShape:
    """Return an entry as it is told."""
    entry = stored.entry
    return AuditShape(
        sequence=stored.sequence,
        at=as_time(entry.at),
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        project=entry.project,
        outcome=entry.outcome,
        request_id=entry.request_id,
        client=entry.client,
        details=entry.details,
        hash=stored.hash.hex(),
    )


ENDPOINTS = (
    Endpoint("GET", "/manage/audit", list_audit, READ_AUDIT),
    Endpoint("GET", "/manage/audit/verify", verify_audit, READ_AUDIT),
    Endpoint("GET", "/manage/audit/export", export_audit, READ_AUDIT, kind=JsonLines),
    Endpoint("GET", "/manage/audit/{sequence}", get_audit_entry, READ_AUDIT),
)
