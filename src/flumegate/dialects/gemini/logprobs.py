"""`logprobsResult` and OpenAI's list of log probabilities, as raw JSON; Google's `tokenId` travels as `token_id`."""

from __future__ import annotations

import msgspec


class _Token(msgspec.Struct, gc=False, omit_defaults=True):
    token: str = ""
    tokenId: int | None = None  # noqa: N815 - named as on the wire
    logProbability: float = 0.0  # noqa: N815 - named as on the wire


class _Candidates(msgspec.Struct, gc=False):
    candidates: list[_Token] | None = None


class _Result(msgspec.Struct, gc=False):
    chosenCandidates: list[_Token] | None = None  # noqa: N815 - named as on the wire
    topCandidates: list[_Candidates] | None = None  # noqa: N815 - named as on the wire


class _Item(msgspec.Struct, gc=False):
    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    top_logprobs: list[_Item] | msgspec.UnsetType | None = msgspec.UNSET
    token_id: int | msgspec.UnsetType = msgspec.UNSET


_decode_result = msgspec.json.Decoder(_Result).decode
_decode_items = msgspec.json.Decoder(list[_Item]).decode
_encode = msgspec.json.Encoder().encode


def read_logprobs(raw: bytes) -> bytes:
    """Return OpenAI's list; empty where there is none, or it cannot be read."""
    try:
        result = _decode_result(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b""
    chosen = result.chosenCandidates or []
    tops = result.topCandidates or []
    items = [
        _item(token, (tops[number].candidates or []) if number < len(tops) else [])
        for number, token in enumerate(chosen)
    ]
    return _encode(items) if items else b""


def _item(token: _Token, top: list[_Token] | None) -> _Item:
    return _Item(
        token.token,
        token.logProbability,
        list(token.token.encode("utf-8", "surrogatepass")),
        msgspec.UNSET if top is None else [_item(other, None) for other in top],
        msgspec.UNSET if token.tokenId is None else token.tokenId,
    )


def write_logprobs(raw: bytes) -> dict[str, object]:
    """Return Google's object; empty where the list cannot be read."""
    try:
        items = _decode_items(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    chosen = [_token(item) for item in items]
    tops = [[_token(other) for other in item.top_logprobs or []] for item in items]
    result: dict[str, object] = {"chosenCandidates": chosen}
    if any(tops):
        result["topCandidates"] = [{"candidates": top} if top else {} for top in tops]
    return result


def _token(item: _Item) -> dict[str, object]:
    token: dict[str, object] = {"token": item.token, "logProbability": item.logprob}
    if item.token_id is not msgspec.UNSET:
        token["tokenId"] = item.token_id
    return token
