from __future__ import annotations

import pytest

from flumegate import errors as kinds
from flumegate.errors import GatewayError, Kind
from flumegate.routing.failure import Class, Failure, of_error, of_status


@pytest.mark.parametrize("status", [100, 200, 204, 301, 304, 399])
def test_what_is_no_error_is_no_failure(status: int) -> None:
    """Redirects and the like are answers."""
    assert of_status(status) is None


@pytest.mark.parametrize(
    ("status", "kind", "blames", "elsewhere"),
    [
        (400, "refused", False, False),
        (401, "credential", False, True),
        (402, "credential", False, True),
        (403, "credential", False, True),
        (404, "missing", False, True),
        (405, "refused", False, False),
        (408, "server", True, True),
        (409, "refused", False, False),
        (413, "refused", False, False),
        (422, "refused", False, False),
        (429, "limited", False, True),
        (499, "refused", False, False),
        (500, "server", True, True),
        (503, "server", True, True),
        (529, "server", True, True),
        (599, "server", True, True),
    ],
)
def test_a_status_tells_who_is_to_blame(status: int, kind: str, blames: bool, elsewhere: bool) -> None:
    """A request that is at fault is at fault everywhere; a target that limits is well; a broken one is blamed."""
    failure = of_status(status, 2.5)
    assert failure == Failure(kind, f"upstream_{status}", status, 2.5)  # type: ignore[arg-type] # of the table
    assert (failure.blames_target, failure.elsewhere) == (blames, elsewhere)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (kinds.UPSTREAM_CONNECT, 0, "connect"),
        (kinds.UPSTREAM_TIMEOUT, 0, "timeout"),
        (kinds.UPSTREAM_FAILED, 200, "server"),
        (kinds.UPSTREAM_OVERLOADED, 200, "server"),
        (kinds.UPSTREAM_LIMITED, 200, "limited"),
        (kinds.UPSTREAM_UNKNOWN, 404, "missing"),
        (kinds.UNAVAILABLE, 0, "busy"),
        (kinds.INVALID_REQUEST, 0, "unsaid"),
        (kinds.TOO_LARGE, 0, "unsaid"),
        (kinds.UPSTREAM_REFUSED, 401, "credential"),
        (kinds.UPSTREAM_REFUSED, 503, "server"),
        (kinds.UPSTREAM_REFUSED, 400, "refused"),
        (kinds.UPSTREAM_REFUSED, 200, "refused"),
        (kinds.INTERNAL, 0, "refused"),
    ],
)
def test_an_error_of_an_attempt_is_classed_by_its_kind(error: Kind, status: int, kind: Class) -> None:
    """Where the kind says nothing the upstream's status does; what another dialect can say is tried elsewhere."""
    failure = of_error(GatewayError(error, "some_code", "…", retry_after=3), status)
    assert failure == Failure(kind, "some_code", status, 3)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "credential"), (403, "credential"), (400, "refused"), (500, "server")]
)
def test_the_status_tells_whose_fault_it_is_in_whatever_words(status: int, kind: Class) -> None:
    """A translated refusal has an error of ours, as kind as it can be; the answer's status still decides."""
    failure = of_error(GatewayError(kinds.UPSTREAM_FAILED, "upstream_credential_refused", "…"), status)
    assert failure == Failure(kind, "upstream_credential_refused", status)
