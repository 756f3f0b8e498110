from __future__ import annotations

import os
import signal

from flumegate.processes.child import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, Child, describe_end


def test_a_child_that_crashes_in_a_loop_is_started_ever_more_slowly() -> None:
    """The delay doubles up to its limit, and is short again after a settled life."""
    child = Child("w0", silence_seconds=None)
    delays = [child.ended(0.0) for _ in range(8)]
    assert delays[:3] == [FIRST_DELAY_SECONDS, 2 * FIRST_DELAY_SECONDS, 4 * FIRST_DELAY_SECONDS]
    assert delays[-1] == LONGEST_DELAY_SECONDS
    assert child.restart_at == LONGEST_DELAY_SECONDS
    assert child.failures == 8
    child.started_at = 100.0
    assert child.ended(111.0) == FIRST_DELAY_SECONDS


def test_silence_beyond_the_limit_is_hanging() -> None:
    """Only of a child that runs and that gives signs of life at all."""
    child = Child("w0", silence_seconds=20.0)
    assert not child.hung(100.0)
    child.pid, child.heard_at = 1, 75.0
    assert child.hung(96.0)
    assert not child.hung(95.0)
    child.silence_seconds = None
    assert not child.hung(1e9)


def test_a_child_is_a_process_group_of_its_own_without_input_and_with_only_the_descriptors_it_is_given() -> None:
    """Ctrl-C in a terminal does not reach it, and nothing of the supervisor leaks into it."""
    reader, writer = os.pipe()
    other = os.dup(writer)
    child = Child("probe", silence_seconds=None)
    # A module of the standard library that runs what follows and is there on every Python.
    code = (
        f"import os; is_open = lambda number: os.path.exists(f'/proc/self/fd/{{number}}'); "
        f"os.write({writer}, repr((os.getpgid(0) == os.getpid(), os.read(0, 1), is_open({other}))).encode())"
    )
    child.start("timeit", ["-n", "1", "-r", "1", code], keep=[writer], environ=dict(os.environ), now=1.0)
    os.close(writer)
    assert os.read(reader, 4096).decode() == repr((True, b"", False))
    _, status = os.waitpid(child.pid, 0)
    assert describe_end(status) == "exit 0"
    os.close(other)
    os.close(reader)


def test_ends_are_described_in_words() -> None:
    """As people know them."""
    child = Child("probe", silence_seconds=None)
    child.start(
        "timeit",
        ["-n", "1", "-r", "1", "import sys; sys.stdin.buffer.read(); __import__('signal').pause()"],
        keep=[],
        environ=dict(os.environ),
        now=1.0,
    )
    child.send(signal.SIGKILL)
    assert describe_end(os.waitpid(child.pid, 0)[1]) == "SIGKILL"
    assert describe_end(3 << 8) == "exit 3"
    assert describe_end(40) == "signal 40"
