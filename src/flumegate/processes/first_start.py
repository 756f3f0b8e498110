"""What the first start makes in the data folder, and what every start checks: folders, pepper, client key, the lock.

Only the gateway's own user can read any of it. A file that others could have read, or that is too short to be one of
ours, stops the start with the remedy. Files appear whole or not at all: written beside, synced, then renamed.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from flumegate.config.operator import TOKEN_NAME
from flumegate.manage import mint
from flumegate.manage.offer import SETUP_NAME, Offer
from flumegate.manage.seal import MasterKey, make_master_key, read_master_key

PEPPER_BYTES = 32
MASTER_NAME = "master.key"
_ADMIN_TOKEN = re.compile(r"fg-admin-[0-9A-Za-z_-]{43}")
_SOCKET_PATH_BYTES = 100
"""The kernel takes 107 on Linux and 103 elsewhere."""


class StartRefusedError(Exception):
    """The gateway must not start like this; the message says why and what to do."""


class ClientKey(NamedTuple):
    """The key that clients use as long as the configuration names none."""

    key: str
    created: bool
    """It is new: `keep_client_key` has not written it yet."""


def open_folder(folder: Path) -> None:
    """Create the data folder and the folders in it, readable by nobody else.

    Raises:
        StartRefusedError: it cannot be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("run", "spool"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
            (folder / name).chmod(0o700)
    except OSError as problem:
        raise StartRefusedError(
            f"{folder}: cannot keep data there ({problem.strerror}): "
            "make it writable for this user, or choose another folder with --data-dir (server.data_dir)"
        ) from problem


def take_lock(folder: Path) -> int:
    """Return the descriptor of the lock that keeps a second gateway off this folder.

    The lock belongs to the open file: it lasts as long as any process holds the descriptor or a copy of it.

    Raises:
        StartRefusedError: another gateway holds it, or the file system has no locks.
    """
    path = folder / "run" / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise StartRefusedError(f"{path}: cannot be opened ({problem.strerror}): give it to this user") from problem
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StartRefusedError(
            f"{folder}: another gateway (process {owner or 'unknown'}) keeps its data there: "
            "stop it, or give this one a folder of its own with --data-dir (server.data_dir)"
        ) from problem
    except OSError as problem:
        os.close(descriptor)
        raise StartRefusedError(
            f"{path}: cannot be locked ({problem.strerror}): choose a folder on a local file system with --data-dir"
        ) from problem
    # Control is the supervisor's child; the supervisor is the process that a user would stop.
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getppid()}\n".encode(), 0)
    return descriptor


def link_path(folder: Path) -> Path:
    """Return where the link's socket goes: the data folder, or a private temporary one where that cannot take it."""
    path = folder.resolve() / "run" / "link.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES and _takes_socket(path):
        return path
    return Path(tempfile.mkdtemp(prefix="flumegate-")) / "link.sock"


def _takes_socket(path: Path) -> bool:
    """Try it out: shared folders of virtual machines and some network file systems have no sockets."""
    try:
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path))
        path.unlink()
    except OSError:
        return False
    return True


def pepper(folder: Path) -> bytes:
    """Return the secret that keys are hashed with, made at the first start.

    Raises:
        StartRefusedError: the file is weak, or others can read it.
    """
    path = folder / "pepper"
    kept = _read(path)
    if kept is None:
        kept = secrets.token_bytes(PEPPER_BYTES)
        write_private(path, kept)
    if len(kept) < PEPPER_BYTES or len(set(kept)) < PEPPER_BYTES // 4:
        raise StartRefusedError(f"{path}: too weak to protect keys: delete it, and the next start makes a new one")
    return kept


def master_keys(folder: Path, texts: Sequence[str], *, sealed: Path) -> list[MasterKey]:
    """Return the keys that stored credentials are sealed with: those of the configuration, else the data folder's own.

    Args:
        folder: where the own one is kept; made at the first start, unless the configuration names some.
        texts: those of the configuration, the one that seals first.
        sealed: a file that there is only where something was sealed already: a new key would not open it.

    Raises:
        StartRefusedError: one is weak, others can read it, or the one that is needed is gone.
    """
    path = folder / MASTER_NAME
    kept = _read(path)
    if kept is None and not texts:
        if sealed.exists():
            raise StartRefusedError(
                f"{path}: is gone, and the credentials in the database were sealed with it: give it back. "
                f"If it is lost for good, delete {sealed}, and store all credentials again in a new database"
            )
        kept = make_master_key().encode() + b"\n"
        write_private(path, kept)
    try:
        keys = [read_master_key(text) for text in texts]
        # Behind those of the configuration: what was sealed before they were named still opens.
        keys += [read_master_key(kept.decode("ascii", "replace"))] if kept is not None else []
    except ValueError as problem:
        raise StartRefusedError(f"{path if not texts else 'encryption.keys'}: {problem}") from problem
    return keys


def client_key(folder: Path) -> ClientKey:
    """Return the client key; a new one, not yet kept, where there is none.

    A start that fails before it could show the key must not leave one that nobody was shown.

    Raises:
        StartRefusedError: the file holds none of ours, or others can read it.
    """
    path = folder / "client.key"
    kept = _read(path)
    if kept is None:
        return ClientKey(make_key(), created=True)
    key = kept.decode("ascii", "replace").strip()
    if not is_key(key):
        raise StartRefusedError(f"{path}: holds no key of ours: delete it, and the next start makes a new one")
    return ClientKey(key, created=False)


def keep_client_key(folder: Path, key: ClientKey) -> None:
    """Write a new client key where later starts find it.

    Raises:
        StartRefusedError: it cannot be written.
    """
    if key.created:
        write_private(folder / "client.key", key.key.encode() + b"\n")


def admin_token(folder: Path) -> str:
    """Return the token that opens the console, made when it is first opened.

    Raises:
        StartRefusedError: the file holds none of ours, others can read it, or it cannot be written.
    """
    path = folder / TOKEN_NAME
    kept = _read(path)
    if kept is None:
        kept = f"fg-admin-{mint.make_secret()}\n".encode()
        write_private(path, kept)
    token = kept.decode("ascii", "replace").strip()
    if not _ADMIN_TOKEN.fullmatch(token):
        raise StartRefusedError(f"{path}: holds no token of ours: delete it, and the next start makes a new one")
    return token


def offer_setup(folder: Path, offer: Offer) -> None:
    """Write what is kept of a setup token where the console finds it.

    Raises:
        StartRefusedError: it cannot be written.
    """
    write_private(folder / SETUP_NAME, offer.content)


def is_first(folder: Path) -> bool:
    """Tell whether no console was ever opened on this folder: nobody has a token for it."""
    return not (folder / TOKEN_NAME).exists()


def make_key() -> str:
    """Return a new key: `sk-fg-<id>-<secret><check>`, with 256 secret bits."""
    return mint.mint(mint.KEY).text


def is_key(text: str) -> bool:
    """Tell whether the text has the form of a key and the right check digits."""
    return mint.id_of(text, mint.KEY) is not None


def _read(path: Path) -> bytes | None:
    """Return a private file's content, or None if there is no file."""
    try:
        # Without blocking: a pipe that nobody writes into would hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise StartRefusedError(f"{path}: cannot be read ({problem.strerror}): give it to this user") from problem
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise StartRefusedError(f"{path}: is no file: delete it, and the next start makes a new one")
    with open(descriptor, "rb") as file:  # noqa: PTH123 - the descriptor whose mode is checked, not the path again
        if facts.st_uid not in {os.geteuid(), 0}:
            raise StartRefusedError(f"{path}: belongs to someone else: delete it, and the next start makes a new one")
        if facts.st_mode & 0o077:
            raise StartRefusedError(
                f"{path}: other users can read it: run `chmod 600 {path}`, or delete it for a new one"
            )
        return file.read(4096)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only the gateway's own user can read, whole or not at all.

    Raises:
        StartRefusedError: it cannot be written.
    """
    try:
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - mkstemp made it private and exclusive
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(beside).replace(path)
    except OSError as problem:
        raise StartRefusedError(
            f"{path}: cannot be written ({problem.strerror}): free some space, or choose another folder with --data-dir"
        ) from problem
