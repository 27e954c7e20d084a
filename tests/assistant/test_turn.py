"""Promises of the fold from events to what the page knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.streaming.turn import Turn, advance, failed, stopped, tick
from assistant.types import Done, Draft, Event, Probed, Queued, Reading, Retrieved, Verified
from tests.fakes import (
    PAPERS,
    abstained_story,
    answer,
    answered_story,
    followed_up_story,
    hostile_story,
    passage,
)

ASKED = Turn(1, "How fast is it?", collection_papers=68)


def play(story: list[Event], *, seconds: list[float] | None = None) -> list[Turn]:
    """Every turn on the way, one per event; events come a second apart unless said."""
    turns = [ASKED]
    clock = 0.0
    for position, event in enumerate(story):
        clock += seconds[position] if seconds else 1.0
        turns.append(advance(turns[-1], event, elapsed_seconds=clock))
    return turns


@pytest.mark.parametrize("story", [answered_story, abstained_story, followed_up_story])
def test_a_turn_runs_until_done_and_no_longer(story: Callable[[], list[Event]]) -> None:
    *running, last = play(story())
    assert {turn.outcome for turn in running} == {"running"}
    assert last.outcome == "done"


def test_papers_are_known_before_the_first_word() -> None:
    for turn in play(answered_story()):
        if turn.draft or turn.sentences:
            assert turn.papers


def test_a_verified_sentence_takes_the_place_of_its_draft() -> None:
    turns = play(answered_story())
    drafted = [turn for turn in turns if turn.draft]
    assert drafted
    for before, after in pairwise(turns):
        if len(after.sentences) > len(before.sentences):
            assert before.draft
            assert not after.draft


def test_what_the_answer_lacks_is_not_shown_whatever_was_streamed() -> None:
    first, second = (e.sentence for e in answered_story() if isinstance(e, Verified))
    done = Done(answer("?", [second], PAPERS))
    turn = play([Retrieved((passage(PAPERS[0]),), 0.1), Verified(first), done])[-1]
    assert turn.sentences == (second,)


def test_a_draft_left_over_is_known_as_dropped() -> None:
    done = Done(answer("?", [], PAPERS))
    *_, before, last = play([Draft("It is"), Draft("It is so."), done])
    assert not before.draft_dropped
    assert last.draft_dropped


def test_a_failed_answer_carries_its_message() -> None:
    broken = replace(answer("?", [], ()), status="error", text="The model is gone.")
    turn = play([Done(broken)])[-1]
    assert (turn.outcome, turn.message) == ("failed", "The model is gone.")


@pytest.mark.parametrize("end", ["stopped", "failed"])
def test_an_unchecked_draft_does_not_outlive_its_turn(end: str) -> None:
    turn = play([Draft("Perhaps")])[-1]
    ended = (
        stopped(turn, elapsed_seconds=2.0)
        if end == "stopped"
        else failed(turn, "no", hint="", elapsed_seconds=2.0)
    )
    assert (ended.outcome, ended.draft) == (end, "")


def test_each_activity_gets_its_own_time() -> None:
    papers = PAPERS[:2]
    story: list[Event] = [
        Queued(1),
        Retrieved(tuple(passage(paper) for paper in papers), 0.25),
        Reading(papers[0], 1, 1),
        Probed(papers[0], 1.0),
        Probed(papers[1], -1.0),
        Draft("It"),
        Done(answer("?", [], papers)),
    ]
    turn = play(story, seconds=[0.0, 3.0, 0.5, 8.0, 1.0, 2.0, 0.25])[-1]
    assert turn.seconds == {
        "searching": 0.25,
        "waiting": 2.75,
        "probing": 0.5 + 1.0,
        "reading": 8.0,
        "writing": 2.25,
    }


@given(
    st.sampled_from([answered_story(), abstained_story(), followed_up_story(), hostile_story()]),
    st.data(),
)
def test_times_are_never_negative_and_never_more_than_the_clock(
    story: list[Event], data: st.DataObject
) -> None:
    gaps = data.draw(
        st.lists(st.floats(0, 100), min_size=len(story), max_size=len(story)), label="gaps"
    )
    for turn in play(story, seconds=gaps):
        assert all(value >= 0 for value in turn.seconds.values())
        # The search clocks itself and is thus not part of the clock of this test.
        others = sum(value for name, value in turn.seconds.items() if name != "searching")
        assert others <= turn.elapsed_seconds + 1e-6
        assert tick(turn, elapsed_seconds=turn.elapsed_seconds + 1).running_seconds >= 1 - 1e-6
