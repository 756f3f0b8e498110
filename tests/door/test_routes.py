from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flumegate.dialects.registry import ENDPOINTS, Endpoint
from flumegate.door.routes import PROBES, find
from flumegate.errors import INVALID_REQUEST, METHOD_NOT_ALLOWED, NOT_FOUND, GatewayError
from rig import cuts

PREFIX = b"/proxy"
VERSIONED = [
    endpoint for endpoint in ENDPOINTS if endpoint.dialect in ("openai", "anthropic") and not endpoint.always_translated
]


def kind(path: bytes, method: bytes = b"POST") -> str:
    return find(method, path, PREFIX)[0].kind


def refusal(path: bytes, method: bytes = b"POST") -> GatewayError:
    with pytest.raises(GatewayError) as refused:
        find(method, path, PREFIX)
    return refused.value


@pytest.mark.parametrize("endpoint", VERSIONED, ids=lambda endpoint: endpoint.name)
def test_every_endpoint_is_found_in_its_tolerated_spellings(endpoint: Endpoint) -> None:
    """Doubled `/v1`, trailing and doubled slashes and percent-encoded letters are the endpoint, in its plain form."""
    path = f"/v1{endpoint.path}".encode()
    last = path.rpartition(b"/")[2]
    for spelling in (
        path,
        path + b"/",
        path + b"//",
        b"/v1" + path,
        b"/v1/v1" + path + b"/",
        path.replace(b"/v1/", b"/v1//"),
        path.replace(last, b"%%%02x" % last[0] + last[1:]),
        path.replace(last, b"%%%02X" % last[0] + last[1:]) + b"/",
        path + b"%2f",
        path + b"%2F/%2f",
        path + b"/%5C",
        path + b"%23x",
        path + b"%3Fx=y",
        path + b";a=b",
        path + b"%3Ba=b",
        path.replace(b"/v1/", b"/v1/%2f"),
        path.replace(b"/v1/", b"/v1/v1%2f"),
        path.replace(b"/v1/", b"/v1/;x/"),
    ):
        route, plain = find(b"POST", spelling, PREFIX)
        assert (route.endpoint, plain) == (endpoint, path)


@pytest.mark.parametrize("endpoint", VERSIONED, ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize("spelling", ["/proxy/v1{}", "/proxy/v1{}/", "/proxy/v1/{}", "/proxy/v1{}%2f", "/proxy/v1{}%"])
def test_endpoints_behind_the_prefix_are_tapped_and_passed_on_as_they_came(endpoint: Endpoint, spelling: str) -> None:
    """Whose answer it is decides who taps it; the path itself travels unchanged."""
    path = spelling.removesuffix("%").format(endpoint.path).encode()
    if spelling.endswith("%"):
        path = path[:-1] + b"%%%02x" % path[-1]
    route, plain = find(b"POST", path, PREFIX)
    assert (route.kind, route.endpoint, route.family, plain) == ("transparent", endpoint, endpoint.dialect, path)


@pytest.mark.parametrize(
    ("method", "path", "expected", "plain"),
    [
        (b"POST", b"/response", "response", b"/response"),
        (b"POST", b"/response/", "response", b"/response"),
        (b"POST", b"/api/chat", "ollama_chat", b"/api/chat"),
        (b"POST", b"/api/generate/", "ollama_generate", b"/api/generate"),
        (b"POST", b"/api/embed", "ollama_embed", b"/api/embed"),
        (b"POST", b"/api/embeddings", "ollama_embeddings", b"/api/embeddings"),
        (b"GET", b"/api/tags", "models", b"/api/tags"),
        (b"POST", b"/api/show", "model", b"/api/show"),
        (b"GET", b"/api/ps", "ollama_ps", b"/api/ps"),
        (b"HEAD", b"/api/version", "ollama_version", b"/api/version"),
        (b"POST", b"/v1beta/models/m:generateContent", "gemini", b"/v1beta/models/m:generateContent"),
        (b"POST", b"/v1/models/a/b:streamGenerateContent", "gemini_stream", b"/v1/models/a/b:streamGenerateContent"),
        (b"POST", b"/v1beta/models/m:countTokens", "gemini_count", b"/v1beta/models/m:countTokens"),
        (b"POST", b"/v1beta/models/m:embedContent", "gemini_embed", b"/v1beta/models/m:embedContent"),
        (b"POST", b"/v1beta/models/m:batchEmbedContents", "gemini_embed_batch", b"/v1beta/models/m:batchEmbedContents"),
        (b"GET", b"/v1beta/models", "models", b"/v1beta/models"),
        (b"GET", b"/v1beta/models/m", "model", b"/v1beta/models/m"),
        (b"GET", b"/v1/models", "models", b"/v1/models"),
        (b"HEAD", b"/v1/models/", "models", b"/v1/models"),
        (b"GET", b"/v1/models/a%2Fb:c", "model", b"/v1/models/a%2Fb:c"),
        (b"GET", b"/v1/models/a/b:c[1m]", "model", b"/v1/models/a/b:c[1m]"),
        (b"HEAD", b"/", "root", b"/"),
        (b"GET", b"//", "root", b"/"),
        (b"GET", b"/health", "health", b"/health"),
        (b"GET", b"/api/health/", "health", b"/api/health"),
        (b"HEAD", b"/live", "live", b"/live"),
        (b"GET", b"/ready", "ready", b"/ready"),
        (b"GET", b"/metrics", "metrics", b"/metrics"),
        (b"GET", b"/metrics/prometheus", "metrics", b"/metrics/prometheus"),
        (b"DELETE", b"/v1/files/file-1", "transparent", b"/v1/files/file-1"),
        (b"GET", b"/v1/responses/resp_1", "transparent", b"/v1/responses/resp_1"),
        (b"PATCH", b"/v1/files/", "transparent", b"/v1/files/"),
        (b"POST", b"/v1/v1/images/edits", "transparent", b"/v1/images/edits"),
        (b"POST", b"/v1/messages/batches", "transparent", b"/v1/messages/batches"),
        (b"POST", b"/v1/a/.b/c..d/...", "transparent", b"/v1/a/.b/c..d/..."),
        (b"GET", b"/proxy/v1/upstreams", "upstreams", b"/proxy/v1/upstreams"),
        (b"GET", b"/proxy/v1/upstreams/", "upstreams", b"/proxy/v1/upstreams/"),
        (b"BREW", b"/proxy/v1/anything/at/all/", "transparent", b"/proxy/v1/anything/at/all/"),
    ],
)
def test_what_a_path_means(method: bytes, path: bytes, expected: str, plain: bytes) -> None:
    """Kind and plain form of every path that is served."""
    route, found = find(method, path, PREFIX)
    assert (route.kind, found) == (expected, plain)


def test_the_error_shape_follows_the_path() -> None:
    """Who calls Anthropic's endpoints understands Anthropic's errors."""
    assert find(b"POST", b"/v1/messages", PREFIX)[0].family == "anthropic"
    assert find(b"POST", b"/v1/messages/count_tokens", PREFIX)[0].family == "anthropic"
    assert find(b"POST", b"/v1/chat/completions", PREFIX)[0].family == "openai"


def test_probes_are_routes() -> None:
    """What the door answers itself exists under these names."""
    paths = (b"/", b"/health", b"/ready", b"/live", b"/metrics")
    assert {kind(path, b"GET") for path in paths} == PROBES


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        (b"GET", b"/v1/chat/completions", "POST only"),
        (b"HEAD", b"/v1//messages", "POST only"),
        (b"PUT", b"/response", "POST only"),
        (b"POST", b"/v1/models", "GET and HEAD only"),
        (b"DELETE", b"/v1/models/m", "GET and HEAD only"),
        (b"POST", b"/health", "GET and HEAD only"),
        (b"POST", b"/proxy/v1/upstreams", "GET and HEAD only"),
        (b"OPTIONS", b"/", "GET and HEAD only"),
    ],
)
def test_a_method_that_a_path_does_not_take(method: bytes, path: bytes, takes: str) -> None:
    """405 that names the methods."""
    error = refusal(path, method)
    assert (error.kind, error.code) == (METHOD_NOT_ALLOWED, "method_not_allowed")
    assert takes in error.message


@pytest.mark.parametrize(
    "path",
    [
        b"/v1",
        b"/v1/",
        b"/v2/chat/completions",
        b"/chat/completions",
        b"/V1/chat/completions",
        b"/v1chat/completions",
        b"/proxy",
        b"/proxy/",
        b"/proxy/v1",
        b"/proxy/v2/x",
        b"/proxyv1/x",
        b"//proxy/v1/x",
        b"/favicon.ico",
        b"/admin",
        b"/%76%31x",
        b"/" + b"x" * 5000,
    ],
)
def test_what_nobody_serves(path: bytes) -> None:
    """404 that says where the dialects live, however long the path."""
    error = refusal(path)
    assert (error.kind, error.code) == (NOT_FOUND, "not_found")
    assert "/v1" in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/../admin",
        b"/v1/files/..",
        b"/v1/./files",
        b"/v1/files/%2e%2e/x",
        b"/v1/files/.%2E/x",
        b"/v1/files/%2e./x",
        b"/v1/files/%2E",
        b"/v1/files/..%2fsecret",
        b"/v1/files%2F..%2Fsecret",
        b"/v1/files%2f%2e%2e",
        b"/v1/files/..%5csecret",
        b"/v1/files%5C..",
        b"/v1/files/..;a=b/secret",
        b"/v1/files/.;/secret",
        b"/v1/files/%2e%2e;/secret",
        b"/v1\\..\\admin",
        b"/v1/files\\x",
        b"/v1/chat/completions#x",
        b"/v1/%6dodels/m:generateContent",
        b"/v1/models%2Fm:generateContent",
        b"/v1//models/m:generateContent",
        b"/v1;x/models/m",
        b"/v1beta/models%2fm:countTokens",
        b"/proxy/v1/../../admin",
        b"/proxy/v1/files/%2e%2e/%2e%2e/x",
        b"/../v1/chat/completions",
        b"/..",
        b"/.",
    ],
)
def test_paths_that_could_leave_their_place(path: bytes) -> None:
    """Dot segments in every encoding, backslashes and fragments are refused, never resolved."""
    error = refusal(path)
    assert (error.kind, error.code) == (INVALID_REQUEST, "invalid_path")


@pytest.mark.parametrize("path", [b"", b"*", b"v1/models", b"http://h/v1/models", b"%2fv1/models", b"h:443"])
def test_a_target_that_is_no_path(path: bytes) -> None:
    """Other forms of a request target were taken apart before, or are refused (RFC 9112 §3.2)."""
    error = refusal(path)
    assert (error.kind, error.code) == (INVALID_REQUEST, "invalid_path")


PIECES = st.lists(
    st.sampled_from(
        [
            *(
                b"/",
                b"//",
                b"/v1",
                b"/v1/",
                b"/proxy",
                b"chat",
                b"/chat/completions",
                b"/messages",
                b"files",
                b"models",
                b"completions",
                b":generateContent",
            ),
            *(
                b".",
                b"..",
                b"%2e",
                b"%2E",
                b"%2f",
                b"%2F",
                b"%5c",
                b"%23",
                b"%3f",
                b"%3b",
                b"\\",
                b"%",
                b"%63",
                b"%25",
                b";",
                b"#",
                b"a",
                b"\xff",
            ),
        ]
    ),
    max_size=8,
).map(b"".join)


def segments(path: bytes) -> list[bytes]:
    """Read a path as the most forgiving server would."""
    plain = unquote_to_bytes(path).replace(b"\\", b"/").partition(b"#")[0].partition(b"?")[0]
    return [segment for part in plain.split(b"/") if (segment := part.partition(b";")[0])]


@cuts.law
@given(PIECES)
@example(b"/v1/chat%2fcompletions")
@example(b"/v1/v1//chat/completions")
@example(b"/v1/chat/completions%2f")
@example(b"/v1/chat/completions%2F/")
@example(b"/v1/chat%5ccompletions")
@example(b"/v1/chat/completions%23")
@example(b"/v1/chat/completions;a")
@example(b"/v1/v1%2fchat/completions")
@example(b"/v1/%6dodels/a:generateContent")
def test_no_path_reaches_another_place_than_it_says(path: bytes) -> None:
    """Below `/v1` nothing escapes, and nothing that a server could take for an endpoint passes as something else."""
    try:
        route, plain = find(b"POST", path, PREFIX)
    except GatewayError:
        return
    assert not {b".", b".."} & set(segments(plain))
    assert plain.startswith(b"/")
    if route.kind == "transparent":
        assert plain.startswith((b"/v1/", b"/proxy/v1/"))
        if plain.startswith(b"/v1/"):
            read = segments(plain)[1:]
            assert b"/" + b"/".join(read) not in {endpoint.path.encode() for endpoint in VERSIONED}
            assert read[:1] != [b"models"]
