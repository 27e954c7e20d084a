"""Vectors to places on a map: near papers lie near each other. Only importer of ``openTSNE``.

t-SNE (van der Maaten and Hinton 2008) as Poličar et al. 2024 implement it, started from the
principal components, so that the map of the same papers is the same map. Of a large collection a
sample is laid out, and every other paper is put between the nearest of the sample: 50,000 papers
take about as long as 5,000.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

LAID_OUT = 5_000
"""Papers that t-SNE itself places."""
NEIGHBOURS = 5
_FEW, _ALIKE = 6, 1e-6
"""Too few papers, or too much alike, to be laid out by anything but their order."""
_SEED = 0
_ROWS = 2_000
_EARLY, _LATE, _STEP = 250, 500, 25

Progress = Callable[[float], None]


def project(
    vectors: NDArray[np.float32], *, progress: Progress | None = None
) -> NDArray[np.float32]:
    """Lay vectors out in two dimensions.

    Args:
        vectors: Shape (papers, dimension), rows of norm 1.
        progress: Told the share that is done, in [0, 1]; what it raises ends the work.

    Returns:
        Shape (papers, 2); every coordinate in [0, 1], the longer side from 0 to 1.
    """
    tell = progress or (lambda _: None)
    if len(vectors) <= LAID_OUT:
        return _framed(_lay_out(vectors, tell))
    step = -(-len(vectors) // LAID_OUT)
    chosen = np.arange(0, len(vectors), step)
    places = np.empty((len(vectors), 2), np.float32)
    places[chosen] = _lay_out(vectors[chosen], lambda done: tell(0.9 * done))
    others = np.setdiff1d(np.arange(len(vectors)), chosen)
    for start in range(0, len(others), _ROWS):
        rows = others[start : start + _ROWS]
        places[rows] = _between(vectors[rows], vectors[chosen], places[chosen])
        tell(0.9 + 0.1 * min(1.0, (start + _ROWS) / len(others)))
    return _framed(places)


def _lay_out(vectors: NDArray[np.float32], tell: Progress) -> NDArray[np.float32]:
    if len(vectors) <= _FEW or float(np.ptp(vectors, axis=0).max()) < _ALIKE:
        angles = np.linspace(0, 2 * np.pi, len(vectors), endpoint=False)
        return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    from openTSNE import TSNE

    done = 0

    def step(_iteration: int, _error: float, _embedding: object) -> None:
        nonlocal done
        done += _STEP
        tell(min(1.0, done / (_EARLY + _LATE)))

    layout = TSNE(
        perplexity=min(30.0, (len(vectors) - 1) / 3),
        initialization="pca",
        metric="euclidean",  # of unit vectors: the order of cosine
        early_exaggeration_iter=_EARLY,
        n_iter=_LATE,
        n_jobs=-1,
        random_state=_SEED,
        callbacks=step,
        callbacks_every_iters=_STEP,
    )
    return np.asarray(layout.fit(vectors.astype(np.float64)), dtype=np.float32)


def _between(
    vectors: NDArray[np.float32], known: NDArray[np.float32], places: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The places of the nearest known vectors, weighted by their similarity."""
    similar = vectors @ known.T
    nearest = np.argpartition(-similar, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    close = np.take_along_axis(similar, nearest, axis=1)
    weight = np.exp(20 * (close - close.max(axis=1, keepdims=True)))
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("ij,ijk->ik", weight, places[nearest]), dtype=np.float32)


def _framed(places: NDArray[np.float32]) -> NDArray[np.float32]:
    low = places.min(axis=0) if len(places) else np.zeros(2)
    size = float((places - low).max()) if len(places) else 0.0
    return np.asarray((places - low) / (size or 1.0), dtype=np.float32)
