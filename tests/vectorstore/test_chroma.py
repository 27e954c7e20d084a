from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import chromadb
import numpy as np
import pytest

from tests.vectorstore.test_codes import unit
from vectorstore import Chunk, IndexDamagedError
from vectorstore.index.chroma import ChromaParts, part_of


def chunk(key: str) -> Chunk:
    paper_id, _, position = key.rpartition(":")
    return Chunk(key, paper_id, int(position), 0, 4, "text")


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[ChromaParts]:
    made = ChromaParts(tmp_path / "chroma")
    yield made
    made.close()


def test_more_than_one_call_holds_can_be_written_read_and_removed(parts: ChromaParts) -> None:
    count = 5_600
    ids, vectors = [f"p:{n}" for n in range(count)], unit(count)
    parts.upsert(0, [chunk(key) for key in ids], ["v"] * count, vectors)
    assert set(parts.ids(0)) == set(ids)
    shuffled = [*reversed(ids), "unknown:0"]
    found = parts.get(0, shuffled)
    assert found.ids == tuple(reversed(ids))
    np.testing.assert_allclose(found.vectors, vectors[::-1], atol=1e-6)
    parts.delete(0, [*ids[100:], "unknown:0"])
    assert set(parts.ids(0)) == set(ids[:100])


def test_parts_are_apart(parts: ChromaParts) -> None:
    vectors = unit(2)
    parts.upsert(0, [chunk("a:0")], ["old"], vectors[:1])
    parts.upsert(3, [chunk("a:0")], ["new"], vectors[1:])
    assert parts.numbers() == [0, 3]
    assert (parts.get(0, ["a:0"]).versions, parts.get(3, ["a:0"]).versions) == (("old",), ("new",))
    parts.delete(0, ["a:0"])
    assert (list(parts.ids(0)), list(parts.ids(3))) == ([], ["a:0"])
    # Asking for what is not there makes nothing.
    assert list(parts.ids(7)) == []
    assert parts.get(7, ["a:0"]).ids == ()
    parts.delete(7, ["a:0"])
    assert parts.numbers() == [0, 3]
    parts.drop(3)
    assert parts.numbers() == [0]
    assert [part_of(row) for row in (0, 99_999, 100_000)] == [0, 0, 1]


def test_other_programs_find_the_chunks_by_cosine(tmp_path: Path, parts: ChromaParts) -> None:
    vectors = unit(200)
    parts.upsert(0, [chunk(f"a:b:{n}") for n in range(200)], ["v"] * 200, vectors)
    parts.close()
    client = chromadb.PersistentClient(str(tmp_path / "chroma" / "00000"))
    collection = client.get_collection("chunks", embedding_function=None)
    query = unit(1, seed=4)
    found = collection.query(query_embeddings=query, n_results=5)
    cosines = vectors @ query[0]
    assert found["ids"] == [[f"a:b:{n}" for n in np.argsort(-cosines)[:5]]]
    assert found["distances"] is not None
    assert found["distances"][0] == pytest.approx(1 - np.sort(cosines)[::-1][:5], abs=1e-5)
    (values,) = found["metadatas"] or []
    assert {each["paper_id"] for each in values} == {"a:b"}
    client.close()  # type: ignore[attr-defined]  # not in the interface class


def test_what_was_written_is_there_after_opening_anew(tmp_path: Path) -> None:
    for number in range(3):
        parts = ChromaParts(tmp_path)
        parts.upsert(0, [chunk(f"p:{number}")], ["v"], unit(1))
        assert len(list(parts.ids(0))) == number + 1
        parts.close()


def test_a_foreign_database_is_an_error_for_the_user(tmp_path: Path, parts: ChromaParts) -> None:
    (tmp_path / "chroma" / "00000").mkdir(parents=True)
    (tmp_path / "chroma" / "00000" / "chroma.sqlite3").write_bytes(b"not a database" * 1_000)
    with pytest.raises(IndexDamagedError, match="vectors in") as caught:
        list(parts.ids(0))
    assert caught.value.hint == f"assistant repair --index {tmp_path}"


def test_chroma_loads_no_embedding_function_of_its_own(parts: ChromaParts) -> None:
    parts.upsert(0, [chunk("p:0")], ["v"], unit(1))
    assert parts._collection(0)._embedding_function is None
