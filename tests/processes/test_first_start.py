from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flumegate.manage.offer import make_offer
from flumegate.processes import first_start
from flumegate.processes.first_start import StartRefusedError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "deep" / "data"
    first_start.open_folder(made)
    return made


def test_nobody_else_can_read_what_the_first_start_makes(folder: Path) -> None:
    """Folders are 0700, files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        first_start.pepper(folder)
        first_start.keep_client_key(folder, first_start.client_key(folder))
    finally:
        os.umask(before)
    assert [mode(folder), mode(folder / "run"), mode(folder / "spool")] == [0o700] * 3
    assert [mode(folder / "pepper"), mode(folder / "client.key")] == [0o600] * 2


def test_the_admin_token_is_made_once(folder: Path) -> None:
    """Private, with 256 random bits; what is none of ours, or readable by others, is refused."""
    token = first_start.admin_token(folder)
    assert first_start.admin_token(folder) == token
    path = folder / "admin.token"
    assert mode(path) == 0o600
    path.chmod(0o640)
    with pytest.raises(StartRefusedError, match="chmod 600"):
        first_start.admin_token(folder)
    path.chmod(0o600)
    path.write_text("guess me")
    with pytest.raises(StartRefusedError, match="delete it"):
        first_start.admin_token(folder)
    path.unlink()
    assert first_start.admin_token(folder) != token


def test_pepper_and_key_are_made_once(folder: Path) -> None:
    """Every later start finds the same ones, and knows that it did not make them."""
    pepper, key = first_start.pepper(folder), first_start.client_key(folder)
    assert len(pepper) == 32
    assert key.created
    assert first_start.client_key(folder) != key
    first_start.keep_client_key(folder, key)
    assert first_start.pepper(folder) == pepper
    assert first_start.client_key(folder) == (key.key, False)


def test_keys_have_a_form_that_can_be_checked_without_a_database() -> None:
    """Any changed character breaks the check digits."""
    key = first_start.make_key()
    assert len(key) == len("sk-fg-") + 8 + 1 + 43 + 6
    assert first_start.is_key(key)
    for index in range(len("sk-fg-"), len(key)):
        other = "A" if key[index] != "A" else "B"
        assert not first_start.is_key(key[:index] + other + key[index + 1 :])


@pytest.mark.parametrize("name", ["pepper", "client.key"])
@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_reach_stops_the_start_with_the_remedy(folder: Path, name: str, bits: int) -> None:
    """A secret that may be known is not used."""
    first_start.pepper(folder)
    first_start.keep_client_key(folder, first_start.client_key(folder))
    (folder / name).chmod(bits)
    with pytest.raises(StartRefusedError, match="chmod 600"):
        (first_start.pepper if name == "pepper" else first_start.client_key)(folder)


@pytest.mark.parametrize("content", [b"", b"short", bytes(32), b"a" * 64])
def test_a_weak_pepper_stops_the_start(folder: Path, content: bytes) -> None:
    """Empty, short and uniform files protect nothing."""
    (folder / "pepper").write_bytes(content)
    (folder / "pepper").chmod(0o600)
    with pytest.raises(StartRefusedError, match="delete it"):
        first_start.pepper(folder)


@pytest.mark.parametrize("content", [b"", b"changeme", b"sk-fg-00000000-" + b"a" * 49, b"\xff" * 60])
def test_a_client_key_that_is_none_of_ours_stops_the_start(folder: Path, content: bytes) -> None:
    """A guessable key is not served."""
    (folder / "client.key").write_bytes(content)
    (folder / "client.key").chmod(0o600)
    with pytest.raises(StartRefusedError, match="delete it"):
        first_start.client_key(folder)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_stops_the_start_and_never_hangs_it(folder: Path, make: Callable[[Path, int], None]) -> None:
    """A folder, as container engines make in place of a file that is not there; a pipe that nobody writes into."""
    for name, read in (("pepper", first_start.pepper), ("client.key", first_start.client_key)):
        make(folder / name, 0o600)
        with pytest.raises(StartRefusedError, match=f"{name}: is no file"):
            read(folder)


def test_the_link_moves_away_from_what_cannot_be_replaced_by_a_socket(folder: Path) -> None:
    """A folder in its place, or a file system without sockets, is no reason not to start."""
    usual = first_start.link_path(folder)
    assert usual == folder.resolve() / "run" / "link.sock"
    assert not usual.exists()
    usual.touch()
    assert first_start.link_path(folder) == usual
    usual.mkdir()
    other = first_start.link_path(folder)
    assert other.parent != usual.parent
    assert mode(other.parent) == 0o700
    other.parent.rmdir()


def test_a_second_gateway_is_told_who_holds_the_folder(folder: Path) -> None:
    """The lock names the process that a user would stop, and is free again once its holder is gone."""
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import sys, pathlib\n"
                "from flumegate.processes import first_start\n"
                "first_start.take_lock(pathlib.Path(sys.argv[1]))\n"
                "print('held', flush=True); sys.stdin.read()"
            ),
            str(folder),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StartRefusedError, match=f"process {os.getpid()}.*--data-dir"):
            first_start.take_lock(folder)
        holder.kill()
    os.close(first_start.take_lock(folder))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The message says which folder and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefusedError, match=r"file/data.*--data-dir"):
        first_start.open_folder(tmp_path / "file" / "data")


def test_the_link_moves_to_a_private_folder_when_the_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    """The kernel's limit on socket paths does not limit where data may live."""
    deep = tmp_path / ("d" * 90)
    first_start.open_folder(deep)
    path = first_start.link_path(deep)
    assert len(os.fsencode(path)) <= 100
    assert mode(path.parent) == 0o700
    path.parent.rmdir()


def test_a_master_key_is_made_once_and_never_in_place_of_a_lost_one(tmp_path: Path) -> None:
    """A new key would open nothing of what the lost one sealed."""
    sealed = tmp_path / "state.sealed"
    (made,) = first_start.master_keys(tmp_path, (), sealed=sealed)
    path = tmp_path / "master.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sealed.touch()
    assert first_start.master_keys(tmp_path, (), sealed=sealed) == [made]
    path.unlink()
    with pytest.raises(StartRefusedError, match="give it back"):
        first_start.master_keys(tmp_path, (), sealed=sealed)


def test_master_keys_of_the_configuration_come_first(tmp_path: Path) -> None:
    """What the own one sealed still opens; without an own one none is made."""
    texts = ["the-first-master-key-of-the-file-123", "the-second-master-key-of-the-file-12"]
    sealed = tmp_path / "state.sealed"
    named = first_start.master_keys(tmp_path, texts, sealed=sealed)
    assert len(named) == 2
    assert not (tmp_path / "master.key").exists()
    (own,) = first_start.master_keys(tmp_path, (), sealed=sealed)
    assert first_start.master_keys(tmp_path, texts, sealed=sealed) == [*named, own]
    with pytest.raises(StartRefusedError, match=r"encryption\.keys"):
        first_start.master_keys(tmp_path, ["a" * 40], sealed=sealed)


def test_a_setup_token_is_kept_as_its_digest(folder: Path) -> None:
    """For nobody else's eyes, and only until somebody has a token of the console."""
    assert first_start.is_first(folder)
    offer = make_offer(b"p" * 32, 1.0)
    first_start.offer_setup(folder, offer)
    path = folder / "setup.offer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == offer.content
    first_start.admin_token(folder)
    assert not first_start.is_first(folder)
