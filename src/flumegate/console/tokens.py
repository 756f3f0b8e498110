"""`/manage/admin-tokens`: who may operate the gateway, in which role, until when."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import Request, Response
from pydantic import BaseModel, Field

from flumegate.console.endpoint import Endpoint
from flumegate.console.fields import Id, Name, When, as_time
from flumegate.console.permission import PERMISSIONS, READ, WRITE_TOKENS
from flumegate.console.request import ActorOf, AskedOf, DeskOf
from flumegate.manage import tokens
from flumegate.manage.actor import Role
from flumegate.manage.desk import Desk
from flumegate.manage.tokens import IssuedToken
from flumegate.store.tokens import AdminToken


class TokenBody(When):
    """A new token of the console."""

    name: Name
    role: Role


class TokenShape(BaseModel):
    """A token, by its id."""

    id: str
    masked: str = Field(description="How it begins, made from its id.")
    name: str
    role: Role
    state: Literal["active", "expired", "revoked"]
    created_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class IssuedTokenShape(TokenShape):
    """A new token."""

    token: str = Field(description="The token itself. It is not shown again.")


class TokensShape(BaseModel):
    """All tokens, oldest first."""

    tokens: list[TokenShape]


class SelfShape(BaseModel):
    """Who asks, and what they may do."""

    name: str
    role: Role
    permissions: list[str]


def list_tokens(desk: DeskOf) -> TokensShape:
    """List the tokens of the console."""
    return TokensShape(tokens=[TokenShape.model_validate(_told(each, desk.clock())) for each in tokens.listed(desk)])


def create_token(desk: DeskOf, asked: AskedOf, body: TokenBody) -> Response:
    """Let somebody in; this answer alone shows the token."""
    ends = body.ends(desk.clock())
    return asked.answer(
        lambda actor: tokens.create(desk, actor, body.name, body.role, ends),
        lambda issued: shape_issued(issued, desk),
        201,
    )


def get_token(desk: DeskOf, token_id: Id) -> TokenShape:
    """Show a token."""
    return TokenShape.model_validate(_told(tokens.find(desk, token_id), desk.clock()))


def delete_token(desk: DeskOf, actor: ActorOf, token_id: Id) -> Response:
    """Revoke a token; one that is revoked stays so."""
    tokens.revoke(desk, actor, token_id)
    return Response(status_code=204)


def get_self(request: Request, actor: ActorOf) -> SelfShape:
    """Tell whose token this is, and what it may do."""
    granted = request.state.permissions & PERMISSIONS[actor.role]
    return SelfShape(name=actor.name, role=actor.role, permissions=sorted(each.name for each in granted))


def shape_issued(issued: IssuedToken, desk: Desk) -> IssuedTokenShape:
    """Return a new token as it is told, this once."""
    return IssuedTokenShape.model_validate(_told(issued.token, desk.clock()) | {"token": issued.text})


def _told(token: AdminToken, now: float) -> dict[str, object]:
    return {
        "id": token.id,
        "masked": f"fg-at-{token.id}-…",
        "name": token.name,
        "role": token.role,
        "state": tokens.state_of(token, now),
        "created_at": as_time(token.created_at),
        "expires_at": as_time(token.expires_at),
        "revoked_at": as_time(token.revoked_at),
        "last_used_at": as_time(token.last_used_at),
    }


ENDPOINTS = (
    Endpoint("GET", "/manage/self", get_self, READ),
    Endpoint("GET", "/manage/admin-tokens", list_tokens, WRITE_TOKENS),
    Endpoint("POST", "/manage/admin-tokens", create_token, WRITE_TOKENS, IssuedTokenShape, 201),
    Endpoint("GET", "/manage/admin-tokens/{token_id}", get_token, WRITE_TOKENS),
    Endpoint("DELETE", "/manage/admin-tokens/{token_id}", delete_token, WRITE_TOKENS, None, 204),
)
