"""Row 47: how long a refused key takes tells nothing about the keys that there are.

Measured in process against the workers' own look-up, so that no network blurs a difference. Welch's t between any two
classes of wrong keys must stay below 4.5, as in dudect (Reparaz et al. 2017). The classes take turns in random order;
what took longer than 99 % of all samples together is left out of all of them alike: those are the machine's.
"""

from __future__ import annotations

import gc
import itertools
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flumegate.gates.digest import digest
from flumegate.gates.keyring import Keyring
from flumegate.keytable import build
from flumegate.manage import mint
from flumegate.records.access import Key
from flumegate.snapshot import Snapshot
from rig.figures import figure

PEPPER = b"pepper-of-the-tests-0123456789abcdef"
KEYS = 1_000
MOST_T = 4.5
KEPT = 0.99
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def known() -> list[str]:
    return [mint.mint(mint.KEY).text for _ in range(KEYS)]


def keyring(folder: Path, known: list[str]) -> Keyring:
    """Return the keys as a worker has them: half in the mapped table, half in the configuration."""
    half = KEYS // 2
    digests = [(digest(PEPPER, text.encode()), Key(text[6:14])) for text in known]
    path = folder / "keys.tbl"
    path.write_bytes(build(digests[:half]))
    found = Keyring()
    found.apply(Snapshot(version=1, providers={}, pepper=PEPPER, key_table=str(path), keys=dict(digests[half:])))
    for text in known:
        assert found.find(text.encode()) is not None  # so that they are made ready, as those of keys in use are
    return found


def classes(known: list[str], each: int) -> dict[str, list[bytes]]:
    """Return wrong keys of one length: nearly right, of a known id, and of no id.

    No two are the same: how many steps a look-up takes depends on the digest, and of few keys that were asked for again
    and again one class would by chance have more steps than another, which tells nothing about the keys that there are.
    """
    dice, right = random.Random(47), set(known)
    real = [dice.choice(known) for _ in range(each)]

    def word(length: int) -> str:
        return "".join(dice.choices(LETTERS, k=length))

    found = {
        "nearly right": [text[:-4] + word(4) for text in real],
        "known id": [text[:15] + word(len(text) - 15) for text in real],
        "unknown id": [f"sk-fg-{word(8)}-{word(len(text) - 15)}" for text in real],
    }
    return {name: [text.encode() for text in texts if text not in right] for name, texts in found.items()}


def samples_of(find: Callable[[bytes], object], keys: dict[str, list[bytes]]) -> dict[str, list[int]]:
    """Return how many nanoseconds each look-up took."""
    asked = [(name, key) for name, texts in keys.items() for key in texts]
    random.Random(4711).shuffle(asked)
    # Copied in this order: else the keys of a class would lie beside each other in memory.
    asked = [(name, bytes(bytearray(key))) for name, key in asked]
    taken: dict[str, list[int]] = {name: [] for name in keys}
    clock = time.perf_counter_ns
    gc.collect()
    gc.disable()
    try:
        for name, key in asked:
            note = taken[name].append
            before = clock()
            find(key)
            note(clock() - before)
    finally:
        gc.enable()
    return taken


def welch(one: list[int], other: list[int]) -> float:
    """Return Welch's t of two samples."""
    means = [math.fsum(each) / len(each) for each in (one, other)]
    spreads = [
        math.fsum((value - mean) ** 2 for value in each) / (len(each) - 1) / len(each)
        for each, mean in zip((one, other), means, strict=True)
    ]
    return (means[0] - means[1]) / math.sqrt(sum(spreads))


def without_outliers(taken: dict[str, list[int]]) -> dict[str, list[int]]:
    """Leave out the slowest of all, by one bound for all."""
    every = sorted(itertools.chain.from_iterable(taken.values()))
    bound = every[math.ceil(KEPT * len(every)) - 1]
    return {name: [value for value in values if value <= bound] for name, values in taken.items()}


def pairs(taken: dict[str, list[int]]) -> Iterator[tuple[str, float]]:
    """Yield Welch's t of every two classes."""
    kept = without_outliers(taken)
    for one, other in itertools.combinations(kept, 2):
        yield f"{one} / {other}", welch(kept[one], kept[other])


def test_welchs_t_sees_a_difference() -> None:
    """What judges is judged: equal samples are alike, and one nanosecond in a thousand is seen among as many."""
    dice = random.Random(1)
    one, same, later = ([int(dice.gauss(1_000 + more, 20)) for _ in range(100_000)] for more in (0, 0, 1))
    assert abs(welch(one, same)) < MOST_T
    assert abs(welch(one, later)) > MOST_T


@pytest.mark.faults
def test_a_look_up_that_leaks_is_found_out(known: list[str]) -> None:
    """What measures is measured: one that digests only where it knows the id is told apart at once."""
    ids = {text[6:14].encode(): digest(PEPPER, text.encode()) for text in known}

    def leaks(key: bytes) -> bool:
        kept = ids.get(key[6:14])
        return kept is not None and digest(PEPPER, key) == kept

    found = dict(pairs(samples_of(leaks, classes(known, 2_000))))
    assert abs(found["nearly right / unknown id"]) > MOST_T
    assert abs(found["known id / unknown id"]) > MOST_T


@pytest.mark.parametrize("each", [200, pytest.param(100_000, marks=pytest.mark.faults)])
def test_a_wrong_key_takes_as_long_as_any_other(tmp_path: Path, known: list[str], each: int) -> None:
    """Judged with 100,000 samples of each class; with few it only shows that none of them is let in."""
    ring = keyring(tmp_path, known)
    keys = classes(known, each)
    assert {len(texts) for texts in keys.values()} == {each}
    assert not [key for texts in keys.values() for key in texts[:200] if ring.find(key) is not None]
    taken = samples_of(ring.find, keys)
    if each < 100_000:
        return
    found = dict(pairs(taken))
    told = ", ".join(f"{name} {value:+.2f}" for name, value in found.items())
    figure(47, f"Welch t of {each} samples each, slowest 1 % of all left out: {told} (|t| < {MOST_T})")
    assert max(map(abs, found.values())) < MOST_T, told
