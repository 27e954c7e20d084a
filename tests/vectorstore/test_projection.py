"""Promises of the layout: near stays near, the same stays the same, whatever the size."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vectorstore import projection
from vectorstore.projection import project


def groups(count: int, of: int = 3) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    rng = np.random.default_rng(0)
    member = np.arange(count) % of
    vectors = rng.standard_normal((of, 32))[member] + 0.3 * rng.standard_normal((count, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), member


def nearest_is_of_the_same_group(places: NDArray[np.float32], member: NDArray[np.intp]) -> float:
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float(np.mean(member[distances.argmin(axis=1)] == member))


def test_near_papers_lie_near() -> None:
    vectors, member = groups(90)
    assert nearest_is_of_the_same_group(project(vectors), member) > 0.95


def test_papers_beyond_the_sample_lie_near_their_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "LAID_OUT", 60)
    vectors, member = groups(200)
    told: list[float] = []
    places = project(vectors, progress=told.append)
    assert nearest_is_of_the_same_group(places, member) > 0.9
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("count", [0, 1, 2, 6, 7, 20])
def test_any_number_of_papers_fits_the_frame(count: int) -> None:
    places = project(groups(count)[0].reshape(count, 32))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert ((places >= 0) & (places <= 1)).all()


def test_the_same_papers_make_the_same_map() -> None:
    vectors, _ = groups(40)
    assert np.allclose(project(vectors), project(vectors))


def test_equal_papers_do_no_harm() -> None:
    vectors = np.tile(groups(1)[0], (30, 1))
    assert np.isfinite(project(vectors)).all()
