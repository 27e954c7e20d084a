from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vectorstore import IndexDamagedError
from vectorstore.index.codes import _EXACT_ROWS, _ROWS_PER_BLOCK, Codes


def unit(rows: int, seed: int = 0, dimension: int = 384) -> NDArray[np.float32]:
    """Vectors in clusters, as those of texts are."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((1 + rows // 50, dimension), dtype=np.float32)
    vectors = centres[random.integers(len(centres), size=rows)]
    vectors = vectors + 0.7 * random.standard_normal((rows, dimension), dtype=np.float32)
    scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def written(folder: Path, vectors: NDArray[np.float32], step: int) -> Codes:
    """Codes that were written in several steps; each row's owner is a third of its number."""
    codes = Codes(folder, vectors.shape[1])
    for first in range(0, len(vectors), step):
        part = vectors[first : first + step]
        owners = np.arange(first, first + len(part)) // 3
        codes.write(first, part, owners.astype(np.uint32))
    return codes


def nearest(vectors: NDArray[np.float32], query: NDArray[np.float32], most: int) -> list[int]:
    found: list[int] = np.argsort(-(vectors @ query), kind="stable")[:most].tolist()
    return found


def test_few_rows_are_ranked_as_their_cosines_are(tmp_path: Path) -> None:
    vectors, query = unit(2_000), unit(1, seed=9)[0]
    hits = written(tmp_path, vectors, 700).search(query, 50, len(vectors))
    assert [hit.number for hit in hits[:5]] == nearest(vectors, query, 5)
    cosines = vectors @ query
    assert [hit.similarity for hit in hits] == pytest.approx(
        [cosines[hit.number] for hit in hits], abs=5e-3
    )
    # What the bytes put last of the fifty, the vectors put nearly there.
    assert cosines[[hit.number for hit in hits]].min() >= np.sort(cosines)[-50] - 5e-3
    assert [hit.owner for hit in hits] == [hit.number // 3 for hit in hits]


def test_of_many_rows_the_nearest_are_found_and_in_order(tmp_path: Path) -> None:
    vectors = unit(3 * _ROWS_PER_BLOCK + 500)
    near = vectors[:: len(vectors) // 20] + 0.02 * unit(1, seed=5)
    queries = near / np.linalg.norm(near, axis=1, keepdims=True)
    assert len(vectors) > 2 * _EXACT_ROWS
    codes = written(tmp_path, vectors, 9_999)
    shares = []
    for query in queries:
        hits = codes.search(query, 100, len(vectors))
        similarities = [hit.similarity for hit in hits]
        assert similarities == sorted(similarities, reverse=True)
        best = set(nearest(vectors, query, 30))
        shares.append(len(best & {hit.number for hit in hits}) / 30)
    assert np.mean(shares) > 0.97


@pytest.mark.parametrize("share", [0.001, 0.2, 0.9])
def test_only_rows_of_allowed_owners_are_found(tmp_path: Path, share: float) -> None:
    vectors, query = unit(40_000), unit(1, seed=3)[0]
    codes = written(tmp_path, vectors, 40_000)
    # Shorter than the number of owners: what is beyond is not allowed.
    allowed = np.random.default_rng(1).random(12_000) < share
    hits = codes.search(query, 50, len(vectors), allowed)
    assert len(hits) == 50 or share < 0.01
    assert all(hit.owner < 12_000 and allowed[hit.owner] for hit in hits)
    rows = [row for row in range(36_000) if allowed[row // 3]]
    best = [rows[each] for each in nearest(vectors[rows], query, 10)]
    assert len(set(best) & {hit.number for hit in hits}) >= 9


def test_rows_beyond_the_count_are_not_seen_and_may_be_written_anew(tmp_path: Path) -> None:
    vectors = unit(30)
    codes = written(tmp_path, vectors, 30)
    assert {hit.number for hit in codes.search(vectors[29], 99, 20)} == set(range(20))
    codes.write(20, vectors[:1], np.array([7], np.uint32))
    assert codes.search(vectors[0], 1, 21)[0].number in {0, 20}
    assert codes.search(vectors[0], 9, 0) == []


def test_vectors_come_back_nearly_as_they_were(tmp_path: Path) -> None:
    vectors = unit(500)
    codes = written(tmp_path, vectors, 123)
    numbers = np.array([3, 499, 0])
    assert np.einsum("ij,ij->i", codes.vectors(numbers, 500), vectors[numbers]).min() > 0.9995


@given(st.integers(0, 399), st.sampled_from(["vector", "owner", "nothing"]))
def test_any_row_that_differs_is_named(number: int, what: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        vectors = unit(400)
        owners = np.arange(400).astype(np.uint32)
        codes = Codes(Path(folder), vectors.shape[1])
        codes.write(0, vectors, owners)
        expected = vectors.copy()
        if what == "vector":
            expected[number] = -expected[number]
        elif what == "owner":
            owners[number] += 1
        found = codes.differing(np.arange(400), expected, owners)
        assert found.tolist() == ([] if what == "nothing" else [number])


@pytest.mark.parametrize("name", ["signs", "bytes", "owners"])
@pytest.mark.parametrize("damage", ["gone", "short"])
def test_missing_and_short_files_are_an_error_for_the_user(
    tmp_path: Path, name: str, damage: str
) -> None:
    vectors = unit(300)
    codes = written(tmp_path / "codes", vectors, 300)
    file = tmp_path / "codes" / name
    file.unlink() if damage == "gone" else file.write_bytes(file.read_bytes()[:99])
    with pytest.raises(IndexDamagedError) as caught:
        codes.require(300)
    assert caught.value.hint == f"assistant repair --index {tmp_path}"
    # So few rows are compared without their signs.
    if name != "signs":
        with pytest.raises(IndexDamagedError):
            codes.search(vectors[0], 1, 300)


def test_rows_that_another_process_writes_are_found_at_the_next_search(tmp_path: Path) -> None:
    vectors = unit(300)
    reader = written(tmp_path, vectors[:200], 200)
    assert reader.search(vectors[250], 1, 200)[0].similarity < 0.99
    written(tmp_path, vectors, 300)
    assert reader.search(vectors[250], 1, 300)[0].number == 250


def test_vectors_that_come_back_with_another_last_bit_are_the_same(tmp_path: Path) -> None:
    vectors = unit(200)
    # Halves between two bytes, and zeros: either may be rounded the other way.
    vectors[:, 0], vectors[:, 1], vectors[:, 2] = 0.5, 0.5 * 35.5 / 127, 0.0
    codes = Codes(tmp_path, vectors.shape[1])
    owners = np.arange(200, dtype=np.uint32)
    codes.write(0, vectors, owners)
    rows = np.arange(200)
    for direction in (-1, 1):
        moved = np.nextafter(vectors, np.float32(direction), dtype=np.float32)
        assert codes.differing(rows, moved, owners).tolist() == []
    turned = vectors.copy()
    turned[7, 50] *= -1
    turned[9, 51] += 0.01
    assert codes.differing(rows, turned, owners).tolist() == [7, 9]
