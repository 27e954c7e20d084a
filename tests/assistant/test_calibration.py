"""Thresholds are fitted to what was seen, kept whole, and only for the model they belong to."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.answer.calibration import (
    FEWEST,
    FILE_NAME,
    NO_GATE,
    Sample,
    Thresholds,
    fit,
    keep,
    kept,
    sampled,
    shares,
)
from tests.fakes import abstained_story, answered_story

SAMPLES = st.lists(
    st.builds(Sample, st.booleans(), st.floats(-3, 3), st.booleans(), st.booleans()), max_size=40
)


def difference(samples: list[Sample], thresholds: Thresholds) -> float:
    declined, abstained = shares(samples, thresholds)
    return abstained - declined


def test_a_threshold_lies_in_the_middle_of_what_it_separates() -> None:
    good = [Sample(True, 2.0 + n / 10, False, True) for n in range(FEWEST)]
    bad = [Sample(False, 1.0 - n / 10, False, True) for n in range(FEWEST)]
    fitted = fit(good + bad)
    assert fitted.probe_at_least == pytest.approx(1.5)
    assert fitted.probe_if_doubtful == Thresholds().probe_if_doubtful
    assert shares(good + bad, fitted) == (0.0, 1.0)


def test_too_few_questions_change_nothing() -> None:
    few = [Sample(sort, 1.0, False, True) for sort in (True, False)] * (FEWEST - 1)
    assert fit(few) == fit([]) == Thresholds()


@given(SAMPLES)
def test_no_pair_of_thresholds_does_better_than_the_fitted_one(samples: list[Sample]) -> None:
    fitted = fit(samples)
    tried = [sample.probe + shift for sample in samples for shift in (-1e-6, 1e-6)]
    for low, doubtful in itertools.product(tried[::7], tried[1::7]):
        other = Thresholds(
            probe_at_least=low if _can_fit(samples, doubtful=False) else fitted.probe_at_least,
            probe_if_doubtful=(
                doubtful if _can_fit(samples, doubtful=True) else fitted.probe_if_doubtful
            ),
        )
        assert difference(samples, other) <= difference(samples, fitted) + 1e-9


def _can_fit(samples: list[Sample], *, doubtful: bool) -> bool:
    group = [each.answerable for each in samples if each.doubtful == doubtful]
    return min(group.count(True), group.count(False)) >= FEWEST


def test_what_is_kept_is_found_again_for_the_same_model_alone(tmp_path: Path) -> None:
    thresholds = Thresholds(probe_at_least=0.3, probe_if_doubtful=1.25)
    keep(thresholds, tmp_path, model="a", questions=10)
    assert kept(tmp_path, "a").probe_if_doubtful == 1.25
    assert kept(tmp_path, "a").let_pass(0.3, doubtful=False)
    assert kept(tmp_path, "b") == Thresholds()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": "a"}', '{"probe_at_least": "high"}'])
def test_a_damaged_file_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text, encoding="utf-8")
    assert kept(tmp_path, "a") == Thresholds()


def test_a_sample_is_made_of_the_events_of_a_question() -> None:
    good, bad = answered_story(), abstained_story()
    assert sampled(good, answerable=True) == Sample(True, 2.4, False, True)
    assert sampled(bad, answerable=False) == Sample(False, -1.0, False, False)
    assert sampled(good[:2], answerable=True) is None


def test_without_a_gate_every_paper_is_asked() -> None:
    assert NO_GATE.let_pass(-99.0, doubtful=True)


def test_a_low_probe_suffices_where_it_is_far_ahead_and_nothing_is_doubtful() -> None:
    thresholds = Thresholds()
    assert not thresholds.let_pass(-1.0, doubtful=False, lead=1.4)
    assert thresholds.let_pass(-1.0, doubtful=False, lead=2.3)
    assert not thresholds.let_pass(-1.0, doubtful=True, lead=2.3)
