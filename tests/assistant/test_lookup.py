"""Guesses are runs of the source, and the guess behind a run is what follows it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assistant.llm.lookup import COPIED, GUESSED, GUESSED_OF_COPY, MATCHED, Lookup

TOKENS = st.lists(st.integers(0, 5), max_size=40)


def test_what_follows_the_longest_match_is_guessed() -> None:
    lookup = Lookup([1, 2, 3, 4, 9, 2, 3, 5, 6])
    assert lookup.guess([1, 2, 3], 2) == [4]
    assert lookup.guess([9, 2, 3], 9) == [5]


def test_the_longer_the_match_the_more_is_guessed() -> None:
    source = list(range(40))
    lookup = Lookup(source)
    for length in range(MATCHED, 12):
        guess = lookup.guess(source[:length], 100)
        guessed = GUESSED_OF_COPY if length >= COPIED else GUESSED
        assert guess == source[length : length + guessed]


def test_without_a_match_nothing_is_guessed() -> None:
    lookup = Lookup([1, 2, 3])
    assert lookup.guess([2], 4) == []
    assert lookup.guess([3, 1], 4) == []
    assert lookup.guess([2, 3], 4) == []  # the source ends there
    assert Lookup([]).guess([1, 2], 4) == []


@given(TOKENS, TOKENS, st.integers(0, 8))
def test_a_guess_stands_in_the_source_behind_the_end_of_what_is_written(
    source: list[int], written: list[int], most: int
) -> None:
    guess = Lookup(source).guess(written, most)
    assert len(guess) <= most
    if guess:
        run = written[-MATCHED:] + guess
        starts = range(len(source) - len(run) + 1)
        assert any(source[start : start + len(run)] == run for start in starts)


@given(st.lists(st.integers(), min_size=6, max_size=40, unique=True), st.data())
def test_a_copy_is_guessed_to_its_end(source: list[int], data: st.DataObject) -> None:
    written_to = data.draw(st.integers(MATCHED, len(source)))
    lookup, written = Lookup(source), source[:written_to]
    while guess := lookup.guess(written, 3):
        written += guess
    assert written == source
