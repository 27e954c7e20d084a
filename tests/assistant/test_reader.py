"""A paper is read once; what is kept is exact, and what is damaged is read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from assistant.llm.chat_format import chat_format
from assistant.llm.engine import StoppedError
from assistant.llm.llama import Llama, Span
from assistant.llm.prompts import load_prompts
from assistant.llm.reader import Reader
from assistant.llm.states import StateCache
from assistant.resources import resource
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
    (scored,), (last,) = model.weigh([Span(1, 0, tokens[:-2])], 4, tokens[-2:])
    expected = 0.0
    for end in range(len(tokens) - 6, len(tokens) - 2):
        model.cut_sequence(2)
        logits = model.decode([Span(2, 0, tokens[:end])])[0].astype(np.float64)
        expected += logits[tokens[end]] - np.logaddexp.reduce(logits)
    assert scored == pytest.approx(expected, abs=0.3)
    model.cut_sequence(2)
    (whole,) = model.decode([Span(2, 0, tokens)])
    np.testing.assert_allclose(last, whole, atol=0.3)


def test_a_second_reader_reads_nothing_and_says_the_same(model: Llama, tmp_path: Path) -> None:
    first = reader(model, tmp_path)
    with first.asking(QUESTION) as asked:
        asked.weigh(PAPERS[:3])
        likelihoods = asked.likelihoods
        text = "".join(asked.write(PAPERS[0], 12))
    assert first.counts.reused == 0
    second = reader(model, tmp_path)
    assert all(second.is_read(paper) for paper in PAPERS[:3])
    with second.asking(QUESTION) as asked:
        asked.weigh(PAPERS[:3])
        assert asked.likelihoods == pytest.approx(likelihoods, abs=0.3)
        assert "".join(asked.write(PAPERS[0], 12)) == text
    assert second.counts.reused > 0
    assert second.counts.papers_read == 0


def test_the_same_question_again_has_the_same_answer_to_the_bit(
    model: Llama, tmp_path: Path
) -> None:
    mine, found = reader(model, tmp_path), []
    for _ in range(2):  # the papers read for the question, then from what was kept
        with mine.asking(QUESTION) as asked:
            asked.weigh(PAPERS[:1])
            asked.weigh(PAPERS[1:3])
            text = "".join(asked.write(PAPERS[0], 12))
            found.append((asked.likelihoods, asked.probes, text))
    assert found[0] == found[1]


def test_a_damaged_state_is_read_again(model: Llama, tmp_path: Path) -> None:
    with reader(model, tmp_path).asking(QUESTION) as asked:
        asked.weigh(PAPERS[:2])
        likelihoods = asked.likelihoods
    for path in tmp_path.glob("*/*"):
        path.write_bytes(path.read_bytes()[:-100])
    again = reader(model, tmp_path)
    with again.asking(QUESTION) as asked:
        asked.weigh(PAPERS[:2])
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
    with mine.asking(QUESTION) as asked:
        fitting = asked.weigh(long)
        assert 1 <= len(fitting) < len(long)
        assert fitting == list(long[: len(fitting)])
        assert asked.likelihoods.keys() == {paper.id for paper in fitting}
        assert "".join(asked.write(fitting[0], 4)) == "".join(asked.write(fitting[0], 4))
    with mine.asking(QUESTION) as asked:
        assert len(asked.weigh(PAPERS)) > 1


def test_papers_weighed_one_after_the_other_weigh_what_they_weigh_together(
    model: Llama, tmp_path: Path
) -> None:
    mine = reader(model, tmp_path)
    with mine.asking(QUESTION) as asked:
        asked.weigh(PAPERS[:3])
        together = asked.likelihoods, asked.probes
    with mine.asking(QUESTION) as asked:
        assert asked.weigh(PAPERS[:1]) == [PAPERS[0]]
        assert asked.weigh(PAPERS[:3]) == list(PAPERS[1:3])
        assert asked.likelihoods == pytest.approx(together[0], abs=0.3)
        assert asked.probes == pytest.approx(together[1], abs=0.3)


def test_an_answer_goes_on_from_the_pass_that_weighed_the_paper(
    model: Llama, tmp_path: Path
) -> None:
    mine = reader(model, tmp_path)
    with mine.asking(QUESTION) as asked:
        asked.weigh(PAPERS[:1])
        mine.start_counting()
        written = "".join(asked.write(PAPERS[0], 12))
        assert mine.counts.prefilled <= 3
    prompts = load_prompts(resource("prompts/answer.toml"))
    paper = prompts.paper.substitute(title=PAPERS[0].title, abstract=PAPERS[0].abstract).strip()
    parts = (paper, prompts.answer.template, prompts.question.template, prompts.reminder.template)
    told = "\n\n".join(part.strip() for part in parts[:3]).replace("$question", QUESTION)
    layout = chat_format(
        model.chat_template,
        prompts.system.template.strip(),
        bos=model.bos_text,
        eos=model.eos_text,
    )
    tokens = [
        *model.tokenize(layout.before, special=True),
        *model.tokenize(f"{told}\n{parts[3].strip()}"),
        *model.tokenize(layout.after, special=True),
        *model.tokenize("Yes.\n"),
    ]
    model.cut_sequence(2)
    whole = b""
    while len(whole) < 4 * len(written) and len(tokens) < 600:
        model.cut_sequence(2)
        token = int(model.decode([Span(2, 0, tokens)])[0].argmax())
        if model.ends_turn(token):
            break
        whole += model.piece(token)
        tokens.append(token)
    assert whole.decode("utf-8", "replace").startswith(written[:20])


@pytest.mark.parametrize("instruction", ["", "Copy the abstract word for word."])
@pytest.mark.parametrize("guessed", [0, 1, 7, 15])
def test_guessed_runs_change_nothing_of_what_is_written(
    model: Llama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guessed: int, instruction: str
) -> None:
    def written(length: int) -> str:
        monkeypatch.setattr("assistant.llm.lookup.GUESSED", min(1, length))
        monkeypatch.setattr("assistant.llm.lookup.GUESSED_OF_COPY", length)
        with mine.asking(QUESTION) as asked:
            asked.weigh(PAPERS[:1])
            return "".join(asked.write(PAPERS[0], 60, instruction))

    mine = reader(model, tmp_path)
    assert written(guessed) == written(0)


def test_control_tokens_in_a_paper_are_text(model: Llama) -> None:
    marker = "<|im_end|>"
    assert len(model.tokenize(marker, special=True)) == 1
    plain = model.tokenize(marker)
    assert len(plain) > 1
    assert not any(model.ends_turn(token) for token in plain)


def test_a_stop_ends_the_decode_and_leaves_a_usable_model(model: Llama, tmp_path: Path) -> None:
    mine = reader(model, tmp_path)
    with mine.asking(QUESTION) as asked:
        asked.weigh(PAPERS[:1])
        whole = "".join(asked.write(PAPERS[0], 8))
        writing = asked.write(PAPERS[0], 8)
        next(writing)
        model.stop.set()
        with pytest.raises(StoppedError):
            list(writing)
        model.stop.clear()
        assert "".join(asked.write(PAPERS[0], 8)) == whole
