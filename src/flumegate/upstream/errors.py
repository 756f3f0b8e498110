"""What can go wrong on the way to an upstream, mapped once from the libraries' exceptions."""

from __future__ import annotations

import socket
import ssl

from flumegate.errors import UNAVAILABLE, UPSTREAM_CONNECT, UPSTREAM_FAILED, UPSTREAM_TIMEOUT, GatewayError


def connect_failed(provider: str, error: OSError) -> GatewayError:
    """Return the error for a connection that could not be made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return GatewayError(
            UPSTREAM_CONNECT,
            "upstream_tls_failed",
            f"The certificate of {provider!r} was not accepted: {error.verify_message}. "
            "Set ca_file for a private authority.",
        )
    if isinstance(error, ssl.SSLError):
        return GatewayError(
            UPSTREAM_CONNECT,
            "upstream_tls_failed",
            f"The TLS handshake with {provider!r} failed ({error.reason or 'no reason given'}).",
        )
    if isinstance(error, socket.gaierror):
        return GatewayError(
            UPSTREAM_CONNECT, "upstream_dns_failed", f"The host name of {provider!r} could not be resolved."
        )
    if isinstance(error, ConnectionRefusedError):
        return GatewayError(
            UPSTREAM_CONNECT,
            "upstream_connect_failed",
            f"{provider!r} refused the connection. Is it running, and is its base_url right?",
        )
    reason = error.strerror or type(error).__name__
    return GatewayError(
        UPSTREAM_CONNECT, "upstream_connect_failed", f"No connection to {provider!r} could be made ({reason})."
    )


def name_invalid(provider: str) -> GatewayError:
    """Return the error for a host name that no resolver can be asked for."""
    return GatewayError(
        UPSTREAM_CONNECT, "upstream_dns_failed", f"The host name of {provider!r} is not a valid one; see its base_url."
    )


def connect_timeout(provider: str) -> GatewayError:
    """Return the error for a connection that was not made in time."""
    return GatewayError(
        UPSTREAM_TIMEOUT,
        "upstream_connect_timeout",
        f"{provider!r} did not accept a connection in time (timeouts.connect).",
    )


def proxy_failed(provider: str, status: int) -> GatewayError:
    """Return the error for a CONNECT proxy that did not open the tunnel."""
    what = f"answered {status}" if status else "sent no valid answer"
    return GatewayError(
        UPSTREAM_CONNECT, "upstream_proxy_failed", f"The HTTP proxy on the way to {provider!r} {what} to CONNECT."
    )


def pool_exhausted(provider: str) -> GatewayError:
    """Return the error for a request that found no free connection in time."""
    return GatewayError(
        UNAVAILABLE,
        "upstream_busy",
        f"All connections to {provider!r} are in use (max_connections). Try again shortly.",
        retry_after=1,
    )


def closed_unanswered(provider: str) -> GatewayError:
    """Return the error for a connection that was closed before any byte of the answer."""
    return GatewayError(UPSTREAM_CONNECT, "upstream_closed", f"{provider!r} closed the connection without an answer.")


def cut(provider: str) -> GatewayError:
    """Return the error for an answer that broke off."""
    return GatewayError(UPSTREAM_FAILED, "upstream_cut", f"The answer of {provider!r} broke off before its end.")


def failed_in_stream(provider: str) -> GatewayError:
    """Return the error for a stream that reported an error before it had said anything."""
    return GatewayError(
        UPSTREAM_FAILED, "error_in_stream", f"{provider!r} reported an error within its answer, before any of it."
    )


def empty(provider: str) -> GatewayError:
    """Return the error for a stream that said nothing and gave no reason for it."""
    return GatewayError(UPSTREAM_FAILED, "upstream_empty", f"The answer of {provider!r} holds nothing.")


def garbage(provider: str, what: str) -> GatewayError:
    """Return the error for bytes that are no acceptable HTTP answer; `what` names the fault in a few words."""
    return GatewayError(UPSTREAM_FAILED, "upstream_garbage", f"{provider!r} sent an unusable answer: {what}.")


def timed_out(provider: str, *, answered: bool) -> GatewayError:
    """Return the error for an upstream that went silent before (or after) the head of its answer."""
    if answered:
        return GatewayError(
            UPSTREAM_TIMEOUT, "upstream_idle_timeout", f"{provider!r} went silent within its answer (timeouts.idle)."
        )
    return GatewayError(
        UPSTREAM_TIMEOUT,
        "upstream_first_byte_timeout",
        f"{provider!r} did not begin to answer in time (timeouts.first_byte).",
    )


def too_slow(provider: str) -> GatewayError:
    """Return the error for an answer that did not begin meaningfully in the time that it had."""
    return GatewayError(
        UPSTREAM_TIMEOUT,
        "upstream_first_token_timeout",
        f"{provider!r} did not begin to answer in time (timeouts.first_token, or its part of the request's time).",
    )


def out_of_time(provider: str) -> GatewayError:
    """Return the error for a request that used up its total time."""
    return GatewayError(
        UPSTREAM_TIMEOUT,
        "deadline_exceeded",
        f"The request to {provider!r} took longer than it may (timeouts.total, routing.timeout or "
        "x-flumegate-timeout).",
    )
