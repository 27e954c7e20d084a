"""Named collections: names, folders, and that a kill leaves a whole one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import HashEmbedder
from tests.vectorstore.synthetic import synthetic
from vectorstore import (
    CollectionError,
    CollectionNameError,
    Collections,
    IndexLockedError,
    Store,
)
from vectorstore.collections import checked_name


@pytest.fixture
def collections(tmp_path: Path) -> Collections:
    """One below the folder, one elsewhere."""
    made = Collections(tmp_path / "all", {"default": tmp_path / "elsewhere"})
    for count, name in ((3, "default"), (5, "birds")):
        fill(made.folder(name), count)
    return made


def fill(folder: Path, count: int) -> None:
    with Store.create(folder, HashEmbedder()) as store:
        store.ingest(synthetic(number) for number in range(count))


def papers(folder: Path) -> int:
    with Store.open(folder, HashEmbedder()) as store:
        return len(store)


def hidden(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir() if each.name[0] == "." and each.is_dir()]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", "ML", "a b", "a.b", "nul", "com1", "-x", "ä", "x" * 65],
)
def test_a_name_that_some_file_system_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(CollectionNameError) as caught:
        checked_name(name)
    suggested = caught.value.hint.split('"')[1]
    assert checked_name(suggested) == suggested


@given(st.text())
def test_a_name_is_refused_or_stays_below_the_folder(name: str) -> None:
    root = Path("/root")
    folder = None
    with suppress(CollectionNameError):
        folder = Collections(root).folder(name)
    assert folder is None or (folder.parent == root and name == name.lower() == folder.name)


def test_what_there_is_is_listed_without_opening_it(collections: Collections) -> None:
    listed = {info.name: info for info in collections.all()}
    assert list(listed) == ["birds", "default"]
    birds = listed["birds"]
    assert (birds.papers, birds.embedder, birds.problem) == (5, "hash", None)
    assert birds.bytes >= sum(f.stat().st_size for f in birds.path.glob("*.sqlite3"))
    written = birds.written
    with Store.open(birds.path, HashEmbedder()) as store:
        store.search("Subject3")
    assert collections.info("birds").written == written


def test_a_damaged_collection_is_listed_with_what_is_wrong(collections: Collections) -> None:
    (collections.folder("birds") / "manifest.json").write_text("{")
    birds = collections.info("birds")
    assert birds.papers is None
    assert "manifest" in (birds.problem or "")
    collections.remove("birds")
    assert collections.names() == ["default"]


def test_a_collection_that_is_not_there_names_the_closest(collections: Collections) -> None:
    with pytest.raises(CollectionError) as caught:
        collections.require("bird")
    assert "did you mean birds" in caught.value.hint


@pytest.mark.parametrize("name", ["birds", "default"])
def test_a_collection_is_removed_whole_and_the_others_stay(
    collections: Collections, name: str
) -> None:
    collections.remove(name)
    (other,) = {"birds", "default"} - {name}
    assert collections.names() == [other]
    assert not collections.folder(name).exists()
    assert papers(collections.folder(other))


def test_what_is_being_written_is_neither_removed_nor_replaced(collections: Collections) -> None:
    folder = collections.folder("birds")
    with FileLock(folder / "writer.lock"):
        with pytest.raises(IndexLockedError):
            collections.remove("birds")
        with (
            pytest.raises(IndexLockedError),
            collections.placing("birds", replace=True) as staging,
        ):
            fill(staging, 2)
    assert papers(folder) == 5
    assert hidden(folder.parent) == []


def test_a_new_collection_is_there_at_the_end_or_not_at_all(collections: Collections) -> None:
    folder = collections.folder("new")

    def interrupted() -> None:
        with collections.placing("new") as staging:
            fill(staging, 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not folder.exists()
    assert hidden(folder.parent) == []
    with collections.placing("new") as staging:
        fill(staging, 2)
        assert "new" not in collections.names()
    assert papers(folder) == 2


def test_what_is_there_is_replaced_only_when_asked(collections: Collections) -> None:
    with (
        pytest.raises(CollectionError, match="already"),
        collections.placing("birds"),
    ):
        pytest.fail("made something to no end")
    with collections.placing("birds", replace=True) as staging:
        fill(staging, 2)
        assert papers(collections.folder("birds")) == 5
    assert papers(collections.folder("birds")) == 2


def test_two_do_not_make_one_collection_at_once(collections: Collections) -> None:
    with collections.placing("new") as staging:
        fill(staging, 2)
        with pytest.raises(IndexLockedError), collections.placing("new"):
            pytest.fail(f"both put it into {staging}")
    assert papers(collections.folder("new")) == 2


@pytest.mark.parametrize("name", ["birds", "default"])
def test_a_kill_between_the_two_renames_costs_nothing(collections: Collections, name: str) -> None:
    folder = collections.folder(name)
    before = papers(folder)
    # As the kill leaves it: the old one has made room, the new one is not in its place.
    folder.rename(folder.with_name(f".{folder.name}.old"))
    fill(folder.with_name(f".{folder.name}.new"), 2)
    assert [info.name for info in collections.all()] == ["birds", "default"]
    assert papers(folder) == before
    with collections.placing(name, replace=True) as staging:
        fill(staging, 1)
    assert papers(folder) == 1
    assert hidden(folder.parent) == []
