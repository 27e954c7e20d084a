from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vectorstore import Chunk, IndexDamagedError
from vectorstore.dense import DISTANCE, DenseIndex


def chunk(key: str, text: str = "text") -> Chunk:
    paper_id, _, position = key.rpartition(":")
    return Chunk(key, paper_id, int(position), 0, len(text), text)


def unit(rows: int, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((rows, 32), dtype=np.float32)
    scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


@pytest.fixture
def index(tmp_path: Path) -> Iterator[DenseIndex]:
    made = DenseIndex.open(tmp_path / "chroma")
    yield made
    made.close()


def test_hits_are_the_nearest_by_cosine(index: DenseIndex) -> None:
    vectors = unit(200)
    index.upsert([chunk(f"p{n // 4}:{n % 4}") for n in range(200)], ["T"] * 200, vectors)
    query = unit(1, seed=9)[0]
    cosines = vectors @ query
    best = np.argsort(-cosines)[:50]
    hits = index.search(query, 50)
    assert [(hit.paper_id, hit.position) for hit in hits] == [(f"p{n // 4}", n % 4) for n in best]
    assert [hit.similarity for hit in hits] == pytest.approx(cosines[best], abs=1e-5)
    assert DISTANCE == "cosine"


def test_more_than_one_call_holds_can_be_written_and_removed(index: DenseIndex) -> None:
    count = 5_600
    ids = [f"p:{n}" for n in range(count)]
    index.upsert([chunk(key) for key in ids], ["T"] * count, unit(count))
    assert set(index.ids()) == set(ids)
    index.delete([*ids[100:], "unknown:0"])
    assert (set(index.ids()), len(index)) == (set(ids[:100]), 100)


def test_a_chunk_is_replaced(index: DenseIndex) -> None:
    old, new = unit(2)
    index.upsert([chunk("p:0", "old")], ["T"], old[None])
    index.upsert([chunk("p:0", "new")], ["T"], new[None])
    (hit,) = index.search(new, 10)
    assert hit.similarity == pytest.approx(1.0, abs=1e-5)


def test_ids_may_hold_colons(index: DenseIndex) -> None:
    index.upsert([chunk("a:b:c:12")], ["T"], unit(1))
    (hit,) = index.search(unit(1)[0], 1)
    assert (hit.paper_id, hit.position) == ("a:b:c", 12)


def test_an_empty_index_finds_nothing(index: DenseIndex) -> None:
    assert index.search(unit(1)[0], 10) == []
    assert list(index.ids()) == []
    index.delete([])


def test_what_was_written_is_there_after_opening_anew(tmp_path: Path) -> None:
    first = DenseIndex.open(tmp_path)
    stale = DenseIndex.open(tmp_path)
    first.upsert([chunk("p:0")], ["T"], unit(1))
    first.close()
    second = DenseIndex.open(tmp_path)
    assert [hit.paper_id for hit in second.search(unit(1)[0], 5)] == ["p"]
    second.close()
    stale.close()


def test_vectors_of_another_length_are_an_error_for_the_user(index: DenseIndex) -> None:
    index.upsert([chunk("p:0")], ["T"], unit(1))
    with pytest.raises(IndexDamagedError, match="vector index") as caught:
        index.search(np.ones(7, dtype=np.float32), 1)
    assert "--rebuild" in caught.value.hint


def test_a_foreign_database_is_an_error_for_the_user(tmp_path: Path) -> None:
    (tmp_path / "chroma").mkdir()
    (tmp_path / "chroma" / "chroma.sqlite3").write_bytes(b"not a database" * 1_000)
    with pytest.raises(IndexDamagedError, match="vector index"):
        DenseIndex.open(tmp_path / "chroma")


def test_chroma_loads_no_embedding_function_of_its_own(index: DenseIndex) -> None:
    index.upsert([chunk("p:0")], ["T"], unit(1))
    index.search(unit(1)[0], 1)
    assert "chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2" not in sys.modules or (
        index._collection._embedding_function is None
    )
