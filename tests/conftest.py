"""What all tests share: how many examples the property tests try, servers started once, a process as it was found."""

from __future__ import annotations

import gc
import locale
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from flumegate import log
from rig.postgres import Postgres, postgres_cluster

# No test may fail because the machine is busy.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("suite"), max_examples=5_000, print_blob=True)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One cluster for the whole run; a test makes a database of its own in it, and leaves the cluster running."""
    with postgres_cluster() as cluster:
        yield cluster


def _process() -> dict[str, object]:
    """What one test could change under the feet of the next, which runs after it in one order of many."""
    return {
        "working directory": Path.cwd(),
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "garbage collection": (gc.isenabled(), gc.get_threshold()),
        "root logger": (logging.root.level, logging.root.manager.disable),
        "locale": locale.setlocale(locale.LC_ALL),
    }


@pytest.fixture(autouse=True)
def as_found() -> Iterator[None]:
    """Every test begins with the log as a new process has it, and leaves the process as it found it."""
    log.configure()
    log._LOG.secrets = ()
    before = _process()
    yield
    assert _process() == before
