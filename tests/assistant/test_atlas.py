"""Promises of the map: made once, of all papers, and again when they change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.ui import atlas
from assistant.ui.atlas import Atlas, State, kept_at
from tests.fakes import PAPERS, HashEmbedder
from vectorstore import Paper, Store

PATIENCE_SECONDS = 60.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "index", HashEmbedder()) as made:
        made.ingest(
            Paper(id=f"p{n}", title=f"{kind} number {n}", abstract=f"All about {kind} and {kind}s.")
            for n, kind in enumerate(["swan", "radar", "model", "graph"] * 6)
        )
        yield made


def finished(made: Atlas) -> State:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        state = made.look()
        if state.ready or state.failure:
            return state
        time.sleep(0.02)
    pytest.fail("no map was made")


def test_every_paper_is_on_the_map_in_a_named_region(store: Store) -> None:
    made = Atlas(lambda: store)
    assert finished(made).ready
    assert made.current is not None
    assert set(made.current.ids) == {paper.id for paper in store.papers()}
    assert len(made.current.x) == len(made.current.y) == len(made.current.regions) == len(store)
    assert set(made.current.regions) <= set(range(len(made.current.names)))
    assert all(made.current.names)
    assert all(0 <= each <= atlas.GRID for each in (*made.current.x, *made.current.y))


def test_a_map_is_kept_and_made_again_when_the_papers_change(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Atlas(lambda: store)
    finished(first)
    drawn: list[int] = []
    draw = atlas.draw

    def counted(source: Any, tell: Any) -> Any:
        drawn.append(len(source))
        return draw(source, tell)

    monkeypatch.setattr(atlas, "draw", counted)
    second = Atlas(lambda: store)
    assert finished(second).ready
    assert second.current == first.current
    assert drawn == []
    store.ingest(PAPERS)
    assert finished(second).ready
    assert second.current is not None
    assert len(second.current.ids) == len(store)
    assert drawn == [len(store)]
    store.remove(["p0", "p1"])
    assert finished(second).ready
    assert set(second.current.ids) == {paper.id for paper in store.papers()}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": "x"}', b"\xff"])
def test_a_damaged_map_is_made_again(store: Store, content: bytes) -> None:
    kept_at(store.path).write_bytes(content)
    made = Atlas(lambda: store)
    assert finished(made).ready
    assert made.current is not None
    assert len(made.current.ids) == len(store)


def test_an_empty_collection_has_an_empty_map(tmp_path: Path) -> None:
    with Store.create(tmp_path / "index", HashEmbedder()) as empty:
        made = Atlas(lambda: empty)
        assert finished(made).ready
        assert made.current == atlas.Map((), (), (), (), ())


def test_what_goes_wrong_is_told_and_tried_again(store: Store) -> None:
    failing = True

    def source() -> Store:
        if failing:
            raise RuntimeError("gone")
        return store

    made = Atlas(source)
    with pytest.raises(RuntimeError):
        made.look()
    failing = False
    assert finished(made).ready
