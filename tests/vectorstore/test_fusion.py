from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorstore.index.fusion import MISSING, fuse

RANKING = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2), st.floats(-1e6, 1e6), max_size=20
).map(lambda scores: sorted(scores.items(), key=lambda item: -item[1]))


def test_a_known_case() -> None:
    # z of (3, 1) is (1, -1); what a ranking lacks counts as -2.
    fused = fuse([[("a", 3.0), ("b", 1.0)], [("b", 0.9), ("c", 0.1)]])
    assert [key for key, _ in fused] == ["b", "a", "c"]
    assert [score for _, score in fused] == pytest.approx([0.0, (1 + MISSING) / 2, (-1 - 2) / 2])


def test_an_empty_ranking_takes_no_part() -> None:
    ranking = [("a", 3.0), ("b", 1.0)]
    assert fuse([ranking, []]) == fuse([ranking])
    assert fuse([[], []]) == fuse([]) == []


def test_only_the_pool_counts() -> None:
    ranking = [(str(number), 100.0 - number) for number in range(10)]
    assert {key for key, _ in fuse([ranking], pool=3)} == {"0", "1", "2"}


def test_a_pool_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        fuse([[("a", 1.0)]], pool=0)


def test_equal_scores_are_ordered_by_id_and_not_blown_up() -> None:
    assert fuse([[("b", 0.3), ("a", 0.1 + 0.2)]]) == [("a", 0.0), ("b", 0.0)]


@given(st.lists(RANKING, max_size=3))
def test_nothing_is_lost_nothing_invented_and_the_order_of_rankings_is_no_matter(
    rankings: list[list[tuple[str, float]]],
) -> None:
    fused = fuse(rankings)
    assert {key for key, _ in fused} == {key for ranking in rankings for key, _ in ranking}
    assert len(dict(fused)) == len(fused)
    assert fuse(rankings[::-1]) == fused
    assert all(math.isfinite(score) for _, score in fused)


@given(RANKING.filter(lambda r: len({round(s, 3) for _, s in r}) == len(r)))
def test_one_ranking_keeps_its_order_whatever_its_unit(ranking: list[tuple[str, float]]) -> None:
    scaled = [(key, 1000 * score + 7) for key, score in ranking]
    assert [key for key, _ in fuse([scaled])] == [key for key, _ in ranking]


def test_scores_that_lie_close_together_say_little_where_a_deviation_is_expected() -> None:
    close = [("a", 0.3), ("b", 0.2), ("c", 0.1)]
    clear = [("c", 0.9), ("b", 0.3), ("a", 0.2)]
    assert fuse([close, clear], least_deviations=[1.0, 0.0])[0][0] == "c"
    scores = dict(fuse([close], least_deviations=[1.0]))
    assert scores == pytest.approx({"a": 0.1, "b": 0.0, "c": -0.1})
    # What is spread enough is not touched.
    assert fuse([clear, close], least_deviations=[0.01, 0.0]) == fuse([clear, close])
