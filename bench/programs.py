"""The programs from the distribution that the bench needs: nginx, wrk and taskset."""

from __future__ import annotations

import os
import shutil
import subprocess

from bench.problem import BenchError

PACKAGES = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"}
_ADMINISTRATOR_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_INSTALL_SECONDS = 600.0


def ensure() -> None:
    """Make sure that the programs are there; root gets them installed where apt-get exists.

    Raises:
        BenchError: one is missing and cannot be installed from here; the message says what to install.
    """
    # nginx lives where only administrators look.
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *_ADMINISTRATOR_FOLDERS])
    if not (packages := _missing()):
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {' '.join(packages)}", flush=True)
        # The package would start a web server of its own; with this run level it does not.
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for step in (["apt-get", "update"], command):
            subprocess.run(step, env=environ, check=False, capture_output=True, timeout=_INSTALL_SECONDS)
    if packages := _missing():
        raise BenchError(
            f"the bench needs {' and '.join(packages)}: run `{' '.join(command)}` as root, "
            "or install them as your system does"
        )


def _missing() -> list[str]:
    return [package for program, package in PACKAGES.items() if not shutil.which(program)]
