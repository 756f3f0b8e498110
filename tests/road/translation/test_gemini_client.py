"""Google's own client against every kind of provider."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google import genai
from google.genai import errors, types

from rig.translation import KEY, WITHOUT_EMBEDDINGS, Stage

ECHO = "echo: hello there nonce-tr4"
TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            description="Weather of a city",
            parameters_json_schema={
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        )
    ]
)


@pytest.fixture
def client(stage: Stage) -> Iterator[genai.Client]:
    with genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=stage.gateway.url)) as made:
        yield made


def test_answer(client: genai.Client, provider: str) -> None:
    """An answer comes back whole."""
    done = client.models.generate_content(model=f"{provider}/m1", contents="hello there nonce-tr4")
    assert done.text == ECHO
    assert done.candidates is not None
    assert done.candidates[0].finish_reason == types.FinishReason.STOP
    assert done.usage_metadata is not None
    assert (done.usage_metadata.prompt_token_count, done.usage_metadata.candidates_token_count) == (3, 4)


def test_stream(client: genai.Client, provider: str) -> None:
    """A stream yields the text in pieces."""
    chunks = list(client.models.generate_content_stream(model=f"{provider}/m1", contents="hello there nonce-tr4"))
    assert "".join(chunk.text or "" for chunk in chunks) == ECHO
    assert chunks[-1].candidates is not None
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_loop(client: genai.Client, provider: str, streamed: bool) -> None:
    """A conversation of several turns with a tool."""
    config = types.GenerateContentConfig(
        tools=[TOOL], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
    )
    asked = types.Content(role="user", parts=[types.Part(text="use tool for Delft")])
    if streamed:
        chunks = client.models.generate_content_stream(model=f"{provider}/m1", contents=[asked], config=config)
        parts = [
            part
            for chunk in chunks
            for candidate in chunk.candidates or ()
            for part in (candidate.content.parts if candidate.content else None) or ()
        ]
    else:
        done = client.models.generate_content(model=f"{provider}/m1", contents=[asked], config=config)
        assert done.candidates is not None
        assert done.candidates[0].content is not None
        parts = list(done.candidates[0].content.parts or ())
    calls = [part for part in parts if part.function_call is not None]
    (call,) = calls
    assert call.function_call is not None
    assert (call.function_call.name, call.function_call.args) == ("weather", {"city": "use tool for Delft"})
    result = types.Part(
        function_response=types.FunctionResponse(id=call.function_call.id, name="weather", response={"output": "rain"})
    )
    contents = [asked, types.Content(role="model", parts=calls), types.Content(role="user", parts=[result])]
    after = client.models.generate_content(model=f"{provider}/m1", contents=contents, config=config)
    assert after.text is not None
    assert "rain" in after.text


def test_count_tokens(client: genai.Client, provider: str) -> None:
    """A count is never refused and never nothing."""
    counted = client.models.count_tokens(model=f"{provider}/m1", contents="hello there")
    assert counted.total_tokens


def test_embed(client: genai.Client, provider: str) -> None:
    """Vectors come back; Anthropic and Bedrock have none."""
    if provider in WITHOUT_EMBEDDINGS:
        with pytest.raises(errors.ClientError):
            client.models.embed_content(model=f"{provider}/m1", contents="a")
        return
    done = client.models.embed_content(model=f"{provider}/m1", contents="a")
    assert done.embeddings
    assert done.embeddings[0].values


def test_errors(client: genai.Client, provider: str) -> None:
    """What the provider refuses comes as Google's own error."""
    with pytest.raises(errors.ClientError) as limited:
        client.models.generate_content(model=f"{provider}/mock-fault:status=429", contents="hello")
    assert limited.value.code == 429
    with pytest.raises(errors.ServerError):
        client.models.generate_content(model=f"{provider}/mock-fault:status=503", contents="hello")


def test_models(client: genai.Client) -> None:
    """The configured models, as Google lists its own."""
    assert "models/listed" in [model.name for model in client.models.list()]
