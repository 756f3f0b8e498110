"""Everything that is no endpoint of a dialect: passed on as it is, any method and body, streamed both ways.

Below `/v1` the model selects the provider where one can be seen: in a JSON body, or in the first kilobytes of a form.
Below the proxy prefix nobody looks at the body.
"""

from __future__ import annotations

import re

from flumegate.dialects import envelope
from flumegate.engine.outgoing import Outgoing
from flumegate.engine.request import undo_coding
from flumegate.errors import NOT_FOUND, GatewayError
from flumegate.exchange import Exchange
from flumegate.routing.plan import Plan
from flumegate.routing.planner import Planner
from flumegate.snapshot import Snapshot
from flumegate.wire import splice

# Possessive and with few further fields: a form full of such lines is read in one go. `filename="model"` is no name.
_FORM_MODEL = re.compile(rb'(?<=[; \t])name="?model"?\r\n(?:[^\r\n]++\r\n){0,8}+\r\n([^\r\n]{1,200})\r\n')


def plan_transparent(exchange: Exchange, planner: Planner) -> Plan:
    """Return the plan of a request that is passed on as it is.

    Raises:
        GatewayError: unknown upstream or model, or not allowed.
    """
    exchange.lane = "transparent"
    door = exchange.snapshot.door
    prefix = door.proxy_prefix.encode("latin-1") + b"/v1"
    behind_prefix = exchange.path.startswith(prefix)
    suffix = exchange.path[len(prefix) if behind_prefix else len(b"/v1") :]
    upstream = exchange.picked.get(b"x-upstream-name")
    if upstream is None and lists_upstream(exchange):
        upstream = _lister(exchange.snapshot, exchange.family).encode("latin-1")
    model = "" if behind_prefix else _model_of(exchange)
    exchange.model_requested = model
    plan = planner.transparent(
        exchange.method.decode("latin-1"),
        suffix,
        model=model,
        upstream=upstream.decode("latin-1") if upstream is not None else "",
    )
    if exchange.endpoint is not None and exchange.endpoint.dialect not in plan.provider.speaks:
        exchange.endpoint = None  # what comes back is not that dialect: nothing to tap
    return plan


def rename_model(exchange: Exchange, outgoing: Outgoing, plan: Plan) -> None:
    """Put the provider's name of the model in place of the client's, where the body names one."""
    if exchange.upload is not None:
        found = _FORM_MODEL.search(exchange.upload.peek())
        if found is not None:
            exchange.upload.splice(*found.span(1), plan.model.encode())
        return
    try:
        span = splice.find_value(outgoing.body, envelope.MODEL_KEY)
    except splice.NotFoundError:
        return
    outgoing.body = splice.replace(outgoing.body, span, plan.splice)


def lists_upstream(exchange: Exchange) -> bool:
    """Tell whether a model list is asked for that only the provider can give: none is configured here."""
    return (
        exchange.kind in ("models", "model")
        and exchange.family in ("openai", "anthropic")
        and not exchange.snapshot.models
    )


def _lister(snapshot: Snapshot, family: str) -> str:
    """Return the provider whose list answers: the default one if it speaks the caller's dialect, else the first."""
    speakers = [
        provider.name
        for provider in snapshot.providers.values()
        if family in provider.speaks or (family == "openai" and provider.native_path != provider.base_path)
    ]
    if not speakers:
        raise GatewayError(NOT_FOUND, "model_not_found", "No models are configured, and no provider can list any.")
    return snapshot.default_provider if snapshot.default_provider in speakers else speakers[0]


def _model_of(exchange: Exchange) -> str:
    if exchange.upload is not None:
        found = _FORM_MODEL.search(exchange.upload.peek())
        return found[1].decode("utf-8", "replace") if found is not None else ""
    if not exchange.body:
        return ""
    undo_coding(exchange, exchange.snapshot.door.max_body_bytes)
    try:
        return envelope.read(exchange.body, model_required=False).model
    except GatewayError as error:
        if error.code in ("invalid_json", "empty_body"):
            return ""  # whatever it is, it is not ours to judge here
        raise
