"""OpenAI's own client with responses that the gateway itself remembers, before real processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import openai
import pytest
from openai.types.responses import FunctionToolParam, Response, ResponseInputParam

from rig.gateway import run_gateway
from rig.mock import run_mock
from rig.translation import KEY, WEATHER_PARAMETERS, Stage, run_stage

OTHER_KEY = "sk-another-client-canary"
TRANSLATED = ("anthropic", "gemini", "ollama", "bedrock")
TOOL: FunctionToolParam = {"type": "function", "name": "weather", "parameters": WEATHER_PARAMETERS, "strict": False}


@pytest.fixture(scope="module")
def keeping() -> Iterator[Stage]:
    """A gateway of two workers that keeps contents."""
    with run_stage(
        records={"content": "full", "max_request_bytes": 4000},
        auth={"static_keys": [KEY, OTHER_KEY]},
        server={"workers": 2},
    ) as running:
        yield running


@pytest.fixture
def client(keeping: Stage) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=keeping.gateway.url + "/v1", api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
def stranger(keeping: Stage) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=keeping.gateway.url + "/v1", api_key=OTHER_KEY, max_retries=0) as made:
        yield made


def ask(
    client: openai.OpenAI, model: str, text: str, *, previous: str | None = None, streamed: bool = False
) -> Response:
    """Ask once, in one piece or as a stream."""
    if not streamed:
        return client.responses.create(model=model, input=text, previous_response_id=previous)
    if previous is None:
        with client.responses.stream(model=model, input=text) as stream:
            return stream.get_final_response()
    with client.responses.stream(model=model, input=text, previous_response_id=previous) as stream:
        return stream.get_final_response()


def code_of(error: openai.APIStatusError) -> tuple[int, str | None, str | None]:
    return error.status_code, error.code, error.param


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", TRANSLATED)
def test_a_conversation_goes_on_from_an_id(client: openai.OpenAI, kind: str, streamed: bool) -> None:
    """The provider gets all inputs and outputs before the new input, in order; the answer names what it continued."""
    model = f"{kind}/m1"
    first = ask(client, model, "one nonce-a", streamed=streamed)
    second = ask(client, model, "two nonce-b", previous=first.id, streamed=streamed)
    third = ask(client, model, "three nonce-c", previous=second.id, streamed=streamed)
    assert third.output_text == "echo: three nonce-c"
    assert third.previous_response_id == second.id
    assert third.usage is not None
    assert first.usage is not None
    assert third.usage.input_tokens > first.usage.input_tokens
    listed = client.responses.input_items.list(third.id, order="asc").data
    texts = [part.text for item in listed for part in getattr(item, "content", [])]
    assert texts == ["one nonce-a", "echo: one nonce-a", "two nonce-b", "echo: two nonce-b", "three nonce-c"]


def test_a_conversation_goes_on_at_another_provider(client: openai.OpenAI) -> None:
    """What was said stays; a tool's result finds its call although another model made it."""
    called = client.responses.create(model="anthropic/m1", input="use tool for Delft", tools=[TOOL])
    for kind in ("gemini", "ollama", "bedrock", "anthropic"):
        (call,) = [item for item in called.output if item.type == "function_call"]
        result: ResponseInputParam = [{"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
        model = f"{kind}/m1"
        done = client.responses.create(model=model, input=result, previous_response_id=called.id, tools=[TOOL])
        assert "rain" in done.output_text
        called = client.responses.create(
            model=model, input=f"use tool for {kind}", previous_response_id=done.id, tools=[TOOL]
        )
    calls = [item for item in client.responses.input_items.list(called.id, limit=100) if item.type == "function_call"]
    assert len(calls) == 4


@pytest.mark.parametrize("streamed", [False, True])
def test_what_was_answered_is_found_at_once(client: openai.OpenAI, streamed: bool) -> None:
    """An answer can be retrieved as soon as it has been given, as the object that it was."""
    for number in range(5):
        made = ask(client, "anthropic/m1", f"again {number}", streamed=streamed)
        assert made.id.startswith("resp_")
        assert made.to_dict()["store"] is True
        found = client.responses.retrieve(made.id)
        assert (found.id, found.output_text, found.usage) == (made.id, made.output_text, made.usage)
        assert [item.id for item in found.output] == [item.id for item in made.output]


def test_instructions_are_not_handed_down(client: openai.OpenAI) -> None:
    """Each request says its own."""
    first = client.responses.create(model="anthropic/m1", input="one", instructions="a very long instruction here")
    plain = ask(client, "anthropic/m1", "one")
    after = [ask(client, "anthropic/m1", "two", previous=one.id) for one in (first, plain)]
    assert after[0].instructions is None
    assert after[0].usage is not None
    assert after[1].usage is not None
    assert after[0].usage.input_tokens == after[1].usage.input_tokens
    again = client.responses.create(
        model="anthropic/m1", input="three", instructions="Be brief.", previous_response_id=after[0].id
    )
    assert again.instructions == "Be brief."


@pytest.mark.parametrize("kind", TRANSLATED)
def test_the_result_of_a_tool_continues_its_call(client: openai.OpenAI, kind: str) -> None:
    """Only the result is sent; the call that it belongs to comes from the store."""
    called = client.responses.create(model=f"{kind}/m1", input="use tool for Delft", tools=[TOOL])
    (call,) = [item for item in called.output if item.type == "function_call"]
    done = client.responses.create(
        model=f"{kind}/m1",
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "rain"}],
        previous_response_id=called.id,
        tools=[TOOL],
    )
    assert "rain" in done.output_text
    listed = client.responses.input_items.list(done.id, order="asc").data
    kinds = [item.type for item in listed if item.type != "reasoning"]
    assert kinds == ["message", "function_call", "function_call_output"]
    assert all(item.id for item in listed)


def test_input_items_are_paged(client: openai.OpenAI) -> None:
    """Newest first unless asked otherwise, from an item on, and the client's own iteration finds all, each once."""
    last = None
    for number in range(4):
        last = ask(client, "ollama/m1", f"turn {number}", previous=last.id if last else None)
    assert last is not None
    ids = [item.id for item in client.responses.input_items.list(last.id, order="asc", limit=100)]
    assert len(ids) == len(set(ids)) == 7
    assert [item.id for item in client.responses.input_items.list(last.id, limit=2)] == ids[::-1]
    page = client.responses.input_items.list(last.id, limit=3, after=ids[-1] or "")
    assert [item.id for item in page.data] == ids[-2:-5:-1]
    for query in ({"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"order": "up"}, {"after": "msg_unknown"}):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.input_items.list(last.id, extra_query=query)
        assert code_of(refused.value) == (400, "invalid_query", next(iter(query)))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_deleted_response_is_gone(client: openai.OpenAI, keeping: Stage, streamed: bool) -> None:
    """It cannot be read, listed, continued or deleted again; the record of the request stays."""
    made = ask(client, "gemini/m1", "forget nonce-forget", streamed=streamed)
    deleted = client.with_options(max_retries=0).delete(f"/responses/{made.id}", cast_to=object)
    assert deleted == {"id": made.id, "object": "response", "deleted": True}
    for call in (
        client.responses.retrieve,
        client.responses.input_items.list,
        client.responses.delete,
        client.responses.cancel,
    ):
        with pytest.raises(openai.NotFoundError) as gone:
            call(made.id)
        assert code_of(gone.value) == (404, "response_not_found", None)
    with pytest.raises(openai.NotFoundError) as gone:
        ask(client, "gemini/m1", "go on", previous=made.id)
    assert code_of(gone.value) == (404, "response_not_found", "previous_response_id")
    assert made.id.removeprefix("resp_") in {row["id"] for row in keeping.gateway.records()}


def test_another_key_sees_nothing(client: openai.OpenAI, stranger: openai.OpenAI) -> None:
    """What belongs to another looks exactly like what was never there, and cannot be deleted."""
    made = ask(client, "anthropic/m1", "mine nonce-mine")
    never = "resp_0123456789abcdef"
    for call in (
        stranger.responses.retrieve,
        stranger.responses.input_items.list,
        stranger.responses.delete,
        stranger.responses.cancel,
        lambda response_id: ask(stranger, "anthropic/m1", "go on", previous=response_id),
    ):
        told = []
        for response_id in (made.id, never):
            with pytest.raises(openai.NotFoundError) as refused:
                call(response_id)
            told.append(refused.value.response.text.replace(response_id, "ID"))
        assert told[0] == told[1]
    assert client.responses.retrieve(made.id).id == made.id


@pytest.mark.parametrize("previous", ["resp_unknown", "resp_0123456789ABCDEF", "resp_0123456789abcdef0", "x" * 300])
def test_an_id_that_is_not_ours_is_not_found(client: openai.OpenAI, previous: str) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        ask(client, "anthropic/m1", "go on", previous=previous)
    assert code_of(refused.value) == (404, "response_not_found", "previous_response_id")


def test_an_empty_id_and_null_continue_nothing(client: openai.OpenAI) -> None:
    made = client.responses.create(model="anthropic/m1", input="x", extra_body={"previous_response_id": None})
    assert made.previous_response_id is None


def test_what_was_not_to_be_stored_is_not_found(client: openai.OpenAI) -> None:
    """`store: false` is kept as a promise, also where contents are recorded."""
    made = client.responses.create(model="anthropic/m1", input="x", store=False)
    assert made.to_dict()["store"] is False
    for call in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            call(made.id)
    with pytest.raises(openai.NotFoundError):
        ask(client, "anthropic/m1", "go on", previous=made.id)


def test_what_was_asked_to_be_stored_is_stored_here_only(client: openai.OpenAI) -> None:
    """The provider is not asked to store anything, so nothing is lost in asking it."""
    raw = client.responses.with_raw_response.create(model="gemini/m1", input="x", store=True)
    assert "store" not in raw.headers.get("x-flumegate-losses", "")
    made = raw.parse()
    assert made.to_dict()["store"] is True
    assert client.responses.retrieve(made.id).id == made.id


def test_a_response_in_the_foreground_cannot_be_cancelled(client: openai.OpenAI) -> None:
    made = ask(client, "anthropic/m1", "x")
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.cancel(made.id)
    assert code_of(refused.value) == (400, "response_not_cancellable", None)


def test_a_response_is_not_streamed_again(client: openai.OpenAI) -> None:
    made = ask(client, "anthropic/m1", "x", streamed=True)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.retrieve(made.id, stream=True)
    assert code_of(refused.value) == (400, "invalid_query", "stream")


def test_a_response_that_was_kept_in_part_is_refused(client: openai.OpenAI) -> None:
    """Half a context would be a wrong one; deleting is possible all the same."""
    made = ask(client, "anthropic/m1", "long " * 1000)
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, "anthropic/m1", "go on", previous=made.id)
    assert code_of(refused.value) == (400, "response_not_whole", "previous_response_id")
    assert "records.max_request_bytes" in refused.value.message
    with pytest.raises(openai.BadRequestError):
        client.responses.retrieve(made.id)
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_a_conversation_has_an_end(client: openai.OpenAI) -> None:
    """Fifty responses are joined, not one more."""
    last = ask(client, "ollama/m1", "turn")
    for _ in range(50):
        last = ask(client, "ollama/m1", "turn", previous=last.id)
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, "ollama/m1", "turn", previous=last.id)
    assert code_of(refused.value) == (400, "response_chain_too_long", "previous_response_id")


@pytest.mark.parametrize("member", [{"background": True}, {"conversation": "conv_1"}])
def test_what_is_not_served_is_still_refused(client: openai.OpenAI, member: dict[str, object]) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="anthropic/m1", input="x", extra_body=member)
    assert code_of(refused.value) == (400, "not_translatable", next(iter(member)))


def test_without_control_nothing_is_guessed(keeping: Stage, client: openai.OpenAI) -> None:
    """A frozen control and a dead one are a 503 that says when to try again; everything else is served meanwhile."""
    made = ask(client, "anthropic/m1", "x")
    control = keeping.gateway.control_pid()
    os.kill(control, signal.SIGSTOP)
    try:
        with pytest.raises(openai.InternalServerError) as refused:
            client.responses.retrieve(made.id)
        assert code_of(refused.value) == (503, "store_unavailable", None)
        assert refused.value.response.headers["retry-after"] == "2"
        assert ask(client, "anthropic/m1", "meanwhile").output_text == "echo: meanwhile"
    finally:
        os.kill(control, signal.SIGCONT)
    keeping.gateway.kill(control)
    with pytest.raises(openai.InternalServerError) as refused:
        ask(client, "anthropic/m1", "go on", previous=made.id)
    assert code_of(refused.value) == (503, "store_unavailable", None)
    keeping.gateway.output.wait_for("control_resumed")
    patient = client.with_options(max_retries=5)
    assert patient.responses.retrieve(made.id).id == made.id


def test_a_gateway_that_keeps_no_content_says_so(stage: Stage) -> None:
    """Never a silent ignore: what would need the store is a 400 that names the setting; what does not is served."""
    with openai.OpenAI(base_url=stage.gateway.url + "/v1", api_key=KEY, max_retries=0) as client:
        made = client.responses.create(model="anthropic/m1", input="x")
        assert made.to_dict()["store"] is False
        calls: tuple[tuple[str | None, Callable[[], object]], ...] = (
            ("previous_response_id", lambda: ask(client, "anthropic/m1", "y", previous=made.id)),
            ("store", lambda: client.responses.create(model="anthropic/m1", input="x", store=True)),
            (None, lambda: client.responses.retrieve(made.id)),
        )
        for param, refused_call in calls:
            with pytest.raises(openai.BadRequestError) as refused:
                refused_call()
            assert code_of(refused.value) == (400, "responses_not_stored", param)
            assert "records.content" in refused.value.message


@pytest.mark.parametrize("content", ["full", "metadata"])
def test_ids_that_are_not_known_go_on_to_the_provider(content: str) -> None:
    """Where the default provider speaks this dialect, it may know them; ours are answered before anybody is asked."""
    with run_mock() as mock:
        providers = {
            "openai": {"type": "openai", "base_url": f"{mock.url}/v1", "api_key": "sk-x", "default": True},
            "anthropic": {"type": "anthropic", "base_url": mock.url, "api_key": "sk-x"},
        }
        settings = {"auth": {"static_keys": [KEY]}, "providers": providers, "records": {"content": content}}
        with (
            run_gateway(config=settings) as gateway,
            openai.OpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0) as client,
        ):
            made = ask(client, "anthropic/m1", "x")
            for response_id in ("resp_0123456789abcdef", "resp_68a1b2"):
                with pytest.raises(openai.NotFoundError) as refused:
                    client.responses.retrieve(response_id)
                assert refused.value.response.headers["x-flumegate-lane"] == "transparent"
            if content == "full":
                assert client.responses.retrieve(made.id).output_text == "echo: x"
                with pytest.raises(openai.NotFoundError) as refused:
                    client.responses.retrieve(made.id, extra_headers={"X-Upstream-Name": "openai"})
                assert refused.value.response.headers["x-flumegate-lane"] == "transparent"
