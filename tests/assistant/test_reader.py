"""A paper is read once; what is kept is exact, and what is damaged is read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from assistant.llama import Llama, Span, StoppedError
from assistant.prompts import load_prompts
from assistant.reader import Reader
from assistant.resources import resource
from assistant.states import StateCache
from vectorstore import Paper

QUESTION = "What does the method do?"
PAPERS = tuple(
    Paper(
        id=f"p{n}", title=f"Method {n}", abstract=f"We show that method {n} sorts {n} numbers. " * 5
    )
    for n in range(6)
)


@pytest.fixture(scope="module")
def model(small_model: Path) -> Iterator[Llama]:
    made = Llama(small_model, context_tokens=1536, sequences=6)
    yield made
    made.close()


def reader(model: Llama, states: Path) -> Reader:
    for sequence in range(model.sequences):
        model.cut_sequence(sequence)
    return Reader(
        model,
        load_prompts(resource("prompts/answer.toml")),
        lambda name: StateCache(states / name, disk_bytes=10**9, memory_bytes=10**9),
    )


def test_a_restored_state_gives_the_logits_of_a_full_prefill(model: Llama) -> None:
    tokens = model.tokenize("The paper says that numbers can be sorted. " * 8)
    prefix, block, suffix = tokens[:20], tokens[20:-6], tokens[-6:]
    for sequence in range(model.sequences):
        model.cut_sequence(sequence)
    # In the same pieces: how many tokens a batch has decides the order of its sums.
    model.decode([Span(1, 0, prefix)])
    model.decode([Span(1, len(prefix), block)])
    full = model.decode([Span(1, len(prefix) + len(block), suffix)])

    model.decode([Span(0, 0, prefix)])
    model.copy_sequence(0, 2, len(prefix))
    model.decode([Span(2, len(prefix), block)])
    model.cut_sequence(2, 0, len(prefix))
    state = model.save_sequence(2)
    model.cut_sequence(2)
    assert model.load_sequence(3, state)
    model.copy_sequence(0, 3, len(prefix))
    restored = model.decode([Span(3, len(prefix) + len(block), suffix)])

    np.testing.assert_array_equal(restored, full)


def test_the_likelihood_of_tokens_is_that_of_their_logits(model: Llama) -> None:
    for sequence in range(model.sequences):
        model.cut_sequence(sequence)
    tokens = model.tokenize("Sorting numbers is what the paper is about.")
    (scored,) = model.log_likelihoods([Span(1, 0, tokens)], 4)
    expected = 0.0
    for end in range(len(tokens) - 4, len(tokens)):
        model.cut_sequence(2)
        logits = model.decode([Span(2, 0, tokens[:end])])[0].astype(np.float64)
        expected += logits[tokens[end]] - np.logaddexp.reduce(logits)
    assert scored == pytest.approx(expected, abs=0.3)


def test_a_second_reader_reads_nothing_and_says_the_same(model: Llama, tmp_path: Path) -> None:
    first = reader(model, tmp_path)
    with first.asking(PAPERS[:3], QUESTION) as asked:
        likelihoods = list(asked.likelihoods)
        text = "".join(asked.write(PAPERS[0], "Answer.", 12))
    assert first.counts.reused == 0
    second = reader(model, tmp_path)
    assert all(second.is_read(paper) for paper in PAPERS[:3])
    with second.asking(PAPERS[:3], QUESTION) as asked:
        assert asked.likelihoods == pytest.approx(likelihoods, abs=0.3)
        assert "".join(asked.write(PAPERS[0], "Answer.", 12)) == text
    assert second.counts.reused > 0


def test_a_damaged_state_is_read_again(model: Llama, tmp_path: Path) -> None:
    with reader(model, tmp_path).asking(PAPERS[:2], QUESTION) as asked:
        likelihoods = list(asked.likelihoods)
    for path in tmp_path.glob("*/*"):
        path.write_bytes(path.read_bytes()[:-100])
    again = reader(model, tmp_path)
    with again.asking(PAPERS[:2], QUESTION) as asked:
        assert asked.likelihoods == pytest.approx(likelihoods, abs=0.3)
    assert again.counts.reused == 0


def test_a_changed_abstract_never_meets_the_old_state(model: Llama, tmp_path: Path) -> None:
    reader(model, tmp_path).read(PAPERS[:1])
    changed = Paper(id="p0", title=PAPERS[0].title, abstract=PAPERS[0].abstract + "Or not.")
    assert not reader(model, tmp_path).is_read(changed)


def test_more_papers_than_fit_are_asked_as_far_as_they_fit(model: Llama, tmp_path: Path) -> None:
    long = tuple(
        Paper(id=f"long{n}", title="Long", abstract=f"Number {n} is long. " * 60) for n in range(6)
    )
    mine = reader(model, tmp_path)
    with mine.asking(long, QUESTION) as asked:
        assert 1 <= len(asked.papers) < len(long)
        assert list(asked.papers) == list(long[: len(asked.papers)])
    with mine.asking(PAPERS, QUESTION) as asked:
        assert asked.probe(asked.papers[-1]) == pytest.approx(
            asked.probe(asked.papers[-1]), abs=0.05
        )


def test_control_tokens_in_a_paper_are_text(model: Llama) -> None:
    marker = "<|im_end|>"
    assert len(model.tokenize(marker, special=True)) == 1
    plain = model.tokenize(marker)
    assert len(plain) > 1
    assert not any(model.ends_turn(token) for token in plain)


def test_a_stop_ends_the_decode_and_leaves_a_usable_model(model: Llama, tmp_path: Path) -> None:
    mine = reader(model, tmp_path)
    with mine.asking(PAPERS[:1], QUESTION) as asked:
        whole = "".join(asked.write(PAPERS[0], "Answer.", 8))
        writing = asked.write(PAPERS[0], "Answer.", 8)
        next(writing)
        model.stop.set()
        with pytest.raises(StoppedError):
            list(writing)
        model.stop.clear()
        assert "".join(asked.write(PAPERS[0], "Answer.", 8)) == whole
