"""States are what was kept, or nothing; never something else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.llm.states import StateCache, clear_states, state_folders, state_name

LOTS = 10**9


def fresh(folder: Path | None, *, disk: int = LOTS, memory: int = LOTS) -> StateCache:
    return StateCache(folder, disk_bytes=disk, memory_bytes=memory)


def test_a_state_survives_the_process(tmp_path: Path) -> None:
    fresh(tmp_path / "m").put("a", b"state")
    assert fresh(tmp_path / "m").get("a") == b"state"
    assert "a" in fresh(tmp_path / "m")
    assert fresh(tmp_path / "other").get("a") is None


@given(damage=st.integers(0, 10**6), byte=st.integers(1, 255))
def test_any_damaged_byte_makes_it_a_miss(
    tmp_path_factory: pytest.TempPathFactory, damage: int, byte: int
) -> None:
    folder = tmp_path_factory.mktemp("states") / "m"
    fresh(folder).put("a", bytes(range(256)) * 4)
    data = bytearray((folder / "a").read_bytes())
    data[damage % len(data)] ^= byte
    (folder / "a").write_bytes(data)
    assert fresh(folder).get("a") is None
    assert "a" not in fresh(folder)


@pytest.mark.parametrize("kept", [0, 1, 31, 32, 33, 500])
def test_a_truncated_file_is_a_miss(tmp_path: Path, kept: int) -> None:
    fresh(tmp_path / "m").put("a", b"x" * 1000)
    path = tmp_path / "m" / "a"
    path.write_bytes(path.read_bytes()[:kept])
    assert fresh(tmp_path / "m").get("a") is None


def test_the_least_recently_used_goes_first_over_all_models(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        fresh(tmp_path / f"model-{name}").put(name, b"x" * 1000)
        os.utime(tmp_path / f"model-{name}" / name, (number, number))
    assert fresh(tmp_path / "model-a").get("a")  # used now
    fresh(tmp_path / "model-d", disk=3200).put("d", b"x" * 1000)
    left = {path.name for path in tmp_path.glob("*/[!.]*")}
    assert left == {"a", "c", "d"}


def test_memory_keeps_the_latest_and_stays_under_its_cap() -> None:
    cache = fresh(None, memory=3000)
    for name in "abcd":
        cache.put(name, b"x" * 1000)
    assert [name in cache for name in "abcd"] == [False, True, True, True]


def test_no_place_to_write_costs_nothing_but_speed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = fresh(tmp_path / "file" / "m")
    cache.put("a", b"state")
    assert cache.get("a") == b"state"


def test_a_folder_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    cache = fresh(tmp_path / "m")
    cache.put("a", b"1")
    shutil.rmtree(tmp_path / "m")
    cache.put("b", b"2")
    assert fresh(tmp_path / "m").get("b") == b"2"


@given(st.lists(st.binary(), min_size=1, max_size=4), st.lists(st.binary(), min_size=1, max_size=4))
def test_names_differ_as_their_parts_do(one: list[bytes], other: list[bytes]) -> None:
    assert (state_name(*one) == state_name(*other)) == (one == other)


def test_hits_and_sizes_are_counted_over_processes_and_cleared(tmp_path: Path) -> None:
    for _ in range(2):
        cache = fresh(tmp_path / "m")
        if cache.get("a") is None:
            cache.put("a", b"x" * 100)
        cache.touch("a")
    (folder,) = state_folders(tmp_path)
    assert (folder.papers, folder.hits, folder.misses) == (1, 3, 1)
    assert folder.bytes > 100
    (tmp_path / "notes.txt").write_text("not ours")
    assert clear_states(tmp_path) == folder.bytes
    assert state_folders(tmp_path) == []
    assert (tmp_path / "notes.txt").exists()
    assert fresh(tmp_path / "m").get("a") is None
