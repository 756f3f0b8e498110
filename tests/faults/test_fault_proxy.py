"""Promise: the fault proxy carries every byte unless told otherwise, and does what it is told at exactly that byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from rig import road
from rig.fault_proxy import CLEAN, Ending, FaultProxy, Way, fault_proxy

ANSWER = bytes(range(256)) * 4


class Echo:
    """Answers every read with `ANSWER`, and tells how each connection ended."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._server.getsockname()[1]
        self.endings: list[str] = []
        self.received = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end: socket.socket) -> None:
        try:
            while data := end.recv(65536):
                self.received += len(data)
                end.sendall(ANSWER)
            self.endings.append("fin")
        except OSError:
            self.endings.append("reset")
        finally:
            end.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    running = Echo()
    yield running
    running.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    with fault_proxy(echo.port, seed=7) as running:
        yield running


@contextlib.contextmanager
def connected(proxy: FaultProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as end:
        yield end


def read(end: socket.socket, size: int = 1 << 20) -> tuple[bytes, str]:
    """Return what comes until so many bytes or the end, and how that was."""
    data = b""
    try:
        while len(data) < size:
            piece = end.recv(size - len(data))
            if not piece:
                return data, "fin"
            data += piece
    except ConnectionResetError:
        return data, "reset"
    return data, "open"


def visit(proxy: FaultProxy) -> str:
    """Return how a connection ends on which nothing is asked; a reset may come within its making."""
    try:
        with connected(proxy) as end:
            return read(end)[1]
    except ConnectionResetError:
        return "reset"


@pytest.mark.parametrize("way", [CLEAN, Way(piece_bytes=1), Way(rate=100_000), Way(delay_seconds=0.001)])
def test_bytes_arrive_as_they_were_sent(proxy: FaultProxy, way: Way) -> None:
    """However slowly or finely cut, in both directions, and each of them is counted."""
    proxy.answers = proxy.requests = way
    with connected(proxy) as end:
        end.sendall(b"x")
        assert read(end, len(ANSWER)) == (ANSWER, "open")
        assert (proxy.accepted, proxy.open, proxy.answered, proxy.sent_bytes) == (1, 1, 1, 1)
    road.eventually(lambda: proxy.open == 0, "the connection's end")
    assert (proxy.returned_bytes, proxy.ended) == (len(ANSWER), 0)


@pytest.mark.parametrize("end_at", [0, 1, 500, len(ANSWER) - 1])
@pytest.mark.parametrize(("ending", "seen"), [(Ending.FIN, "fin"), (Ending.HALF_CLOSE, "fin"), (Ending.RESET, "reset")])
def test_an_answer_ends_after_exactly_so_many_bytes(proxy: FaultProxy, end_at: int, ending: Ending, seen: str) -> None:
    """Not one more and not one less."""
    proxy.answers = Way(end_at=end_at, ending=ending, piece_bytes=100)
    with connected(proxy) as end:
        end.sendall(b"x")
        data, how = read(end)
    assert how == seen
    assert data == ANSWER[: len(data)]
    assert proxy.returned_bytes == end_at
    assert len(data) == end_at or seen == "reset"  # a reset may overtake what had been sent before it


def test_a_second_answer_is_counted_anew_or_with_the_first(proxy: FaultProxy) -> None:
    """By answer the same byte of each is meant, by connection a byte of its whole life."""
    proxy.answers = Way(end_at=len(ANSWER) + 1)
    with connected(proxy) as end:
        for _ in range(3):
            end.sendall(b"x")
            assert read(end, len(ANSWER)) == (ANSWER, "open")
    proxy.answers = Way(end_at=len(ANSWER) + 1, per="connection")
    with connected(proxy) as end:
        end.sendall(b"x")
        assert read(end, len(ANSWER)) == (ANSWER, "open")
        end.sendall(b"x")
        assert read(end) == (ANSWER[:1], "fin")


def test_after_a_half_close_requests_still_arrive(proxy: FaultProxy, echo: Echo) -> None:
    """Only one direction has ended."""
    proxy.answers = Way(end_at=3, ending=Ending.HALF_CLOSE)
    with connected(proxy) as end:
        end.sendall(b"x")
        assert read(end) == (ANSWER[:3], "fin")
        end.sendall(b"yz")
        road.eventually(lambda: echo.received == 3, "the request behind the half close")


def test_a_stall_ends_when_the_faults_change(proxy: FaultProxy) -> None:
    """What was held back then comes, whole."""
    proxy.answers = Way(end_at=5, ending=Ending.STALL)
    with connected(proxy) as end:
        end.sendall(b"x")
        assert read(end, 5) == (ANSWER[:5], "open")
        road.eventually(lambda: proxy.ended == 1, "the stall")
        proxy.answers = CLEAN
        assert read(end, len(ANSWER) - 5) == (ANSWER[5:], "open")


def test_who_leaves_a_stalled_answer_is_noticed(proxy: FaultProxy, echo: Echo) -> None:
    """The target learns it, and no connection is left."""
    proxy.answers = Way(end_at=5, ending=Ending.STALL)
    with connected(proxy) as end:
        end.sendall(b"x")
        read(end, 5)
    road.eventually(lambda: proxy.open == 0 and len(echo.endings) == 1, "both ends")


def test_garbage_is_every_byte_and_the_same_for_a_seed(echo: Echo) -> None:
    """No byte behind the cut is the one that was sent; equal seeds give equal garbage."""
    heard = []
    for _ in range(2):
        with fault_proxy(echo.port, seed=11) as proxy:
            proxy.answers = Way(end_at=10, ending=Ending.GARBAGE, piece_bytes=7, times=1)
            with connected(proxy) as end:
                end.sendall(b"x")
                heard.append(read(end, len(ANSWER))[0])
    assert heard[0] == heard[1]
    assert heard[0][:10] == ANSWER[:10]
    assert not any(ours == theirs for ours, theirs in zip(heard[0][10:], ANSWER[10:], strict=True))


def test_a_share_of_the_connections_is_the_same_for_a_seed(echo: Echo) -> None:
    """Which ones are hit follows from the seed and the order of their arrival."""
    patterns = []
    for _ in range(2):
        with fault_proxy(echo.port, seed=3) as proxy:
            proxy.answers = Way(end_at=0, share=0.5)
            hit = []
            for _ in range(20):
                with connected(proxy) as end:
                    end.sendall(b"x")
                    hit.append(read(end, len(ANSWER))[1] == "fin")
            patterns.append(hit)
    assert patterns[0] == patterns[1]
    assert 0 < sum(patterns[0]) < 20


def test_so_many_endings_and_no_more(proxy: FaultProxy) -> None:
    """The first two answers are cut, the third one is whole."""
    proxy.answers = Way(end_at=1, times=2)
    heard = []
    for _ in range(3):
        with connected(proxy) as end:
            end.sendall(b"x")
            heard.append(len(read(end, len(ANSWER))[0]))
    assert heard == [1, 1, len(ANSWER)]


def test_requests_are_cut_as_answers_are(proxy: FaultProxy, echo: Echo) -> None:
    """The target gets exactly so many bytes, then its caller is gone."""
    proxy.requests = Way(end_at=2)
    with connected(proxy) as end:
        end.sendall(b"wxyz")
        read(end)
    road.eventually(lambda: len(echo.endings) == 1, "the end at the target")
    assert (echo.received, proxy.sent_bytes) == (2, 2)


def test_a_door_that_lets_nobody_in(proxy: FaultProxy, echo: Echo) -> None:
    """New connections are reset, or accepted and left without a word; the target hears of neither."""
    proxy.door = "reset"
    assert visit(proxy) == "reset"
    proxy.door = "hold"
    with connected(proxy) as end:
        end.sendall(b"x")
        end.shutdown(socket.SHUT_WR)
        assert read(end) == (b"", "fin")
    assert (echo.received, proxy.accepted) == (0, 2)


@pytest.mark.parametrize(("ending", "seen"), [(Ending.FIN, "fin"), (Ending.RESET, "reset")])
def test_all_connections_can_be_ended_at_once(proxy: FaultProxy, ending: Ending, seen: str) -> None:
    """In order or by a reset; the next one is served."""
    with connected(proxy) as one, connected(proxy) as other:
        for end in (one, other):
            end.sendall(b"x")
            read(end, len(ANSWER))
        proxy.hang_up(ending)
        assert [read(end)[1] for end in (one, other)] == [seen, seen]
    with connected(proxy) as end:
        end.sendall(b"x")
        assert read(end, len(ANSWER)) == (ANSWER, "open")


def test_a_target_that_leaves_or_is_not_there_ends_the_connection(echo: Echo) -> None:
    """Nothing hangs where there is nobody to answer."""
    with fault_proxy(echo.port) as proxy:
        echo.close()
        assert visit(proxy) in ("reset", "fin")
