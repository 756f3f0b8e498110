"""`flumegate serve`: turns its options into environment overrides and becomes the supervisor.

It imports nothing but the standard library, so that a start does not wait for the command line's library.
By exec, so that the process that a user or systemd started is the one that takes Ctrl-C, SIGTERM and SIGHUP.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def serve(
    *,
    config: Path | None = None,
    listen: str | None = None,
    workers: int | None = None,
    data_dir: Path | None = None,
) -> int:
    """Start the gateway.

    Without a configuration file, providers are taken from the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, …);
    with none at all, a built-in mock answers. Ctrl-C or SIGTERM lets running requests finish, a second one does not;
    SIGHUP reads the configuration again.

    Args:
        config: Configuration file; without it $FLUMEGATE_CONFIG, then ./flumegate.yaml.
        listen: Address and port for clients, as 127.0.0.1:4100; overrides server.listen.
        workers: Worker processes; overrides server.workers.
        data_dir: Folder for records, spool and generated keys; overrides server.data_dir.
    """
    overrides = {
        "FLUMEGATE_SERVER__LISTEN": listen,
        "FLUMEGATE_SERVER__WORKERS": workers,
        "FLUMEGATE_SERVER__DATA_DIR": data_dir,
    }
    environ = dict(os.environ) | {name: str(value) for name, value in overrides.items() if value is not None}
    # -P: the working folder is the user's; a json.py in it is none of our business.
    command = [sys.executable, "-P", "-m", "flumegate.processes.supervisor"]
    if config is not None:
        command += ["--config", str(config)]
    sys.stdout.flush()
    os.execve(sys.executable, command, environ)  # noqa: S606 - no shell is wanted: the arguments stand as they are
