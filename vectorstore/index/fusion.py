"""Two rankings into one. Pure; knows nothing of what is ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", int, str)

POOL = 100
"""Best results taken from each ranking; the statistics of a score are those of its pool."""

MISSING = -2.0
"""Standard score of what a ranking did not return: clearly below all that it did."""


def fuse(
    rankings: Sequence[Sequence[tuple[Key, float]]],
    *,
    pool: int = POOL,
    least_deviations: Sequence[float] | None = None,
) -> list[tuple[Key, float]]:
    """Merge rankings by the mean of their standard scores.

    BM25 scores and cosines have no common unit; their standard scores within one ranking do.
    Measured on SciFact (DESIGN.md section 3) this beats reciprocal ranks and min-max scaling.

    Args:
        rankings: One per index: (id, score) pairs, best first, each id once.
        pool: How many of each ranking to use, from the top.
        least_deviations: For each ranking, the standard deviation that is assumed where the scores
            lie closer together, as those of an index that found nothing to speak of; 0 if None.

    Returns:
        (id, fused score) pairs, best first; ties in order of id. The result does not depend on the
        order of the rankings. An empty ranking takes no part.

    Raises:
        ValueError: If pool is below 1.

    Reference:
        Standard-score fusion: Wu, Crestani, Bi, "Evaluating Score Normalization Methods in Data
        Fusion" (AIRS 2006), doi:10.1007/11880592_57.
    """
    if pool < 1:
        raise ValueError(f"pool must be at least 1, not {pool}")
    least = least_deviations or [0.0] * len(rankings)
    scored = [
        _standard_scores(ranking[:pool], at_least)
        for ranking, at_least in zip(rankings, least, strict=True)
        if ranking
    ]
    ids = {key for scores in scored for key in scores}
    fused = {key: math.fsum(s.get(key, MISSING) for s in scored) / len(scored) for key in ids}
    return sorted(fused.items(), key=lambda item: (-item[1], item[0]))


def _standard_scores(
    ranking: Sequence[tuple[Key, float]], least_deviation: float
) -> Mapping[Key, float]:
    """Return z = (score - mean) / standard deviation; 0 where all scores are equal."""
    values = [score for _, score in ranking]
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    # Equal scores differ by rounding alone; do not blow that up into ranks.
    if deviation <= 1e-9 * max(1.0, abs(mean)):
        return dict.fromkeys((key for key, _ in ranking), 0.0)
    deviation = max(deviation, least_deviation)
    return {key: (score - mean) / deviation for key, score in ranking}
