"""The baseline of the evaluation: four abstracts in one prompt, and the model cites by itself.

What most programs of this kind do. Nothing of it is part of an answer of this program; it exists
so that ours can be compared with it, with the same model, papers and machine.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from assistant.answer.pipeline import Assistant
from assistant.llm.chat_format import chat_format
from assistant.llm.llama import Llama, Span
from assistant.model_files.models import resolve
from assistant.types import (
    Answer,
    Citation,
    Sentence,
    ShownPassage,
    Status,
    Timings,
    Tokens,
)
from vectorstore import Passage
from vectorstore.filters import Filters

PAPERS = 4
CONTEXT_TOKENS = 6144
ANSWER_TOKENS = 256

SYSTEM = (
    "You answer questions about research papers. Use only the numbered abstracts. Cite each "
    "sentence with the number of its abstract, as in [1]. If the abstracts do not answer the "
    "question, say that the papers do not say."
)
_MARKER = re.compile(r"\[(\d+)\]")
_DECLINES = re.compile(
    r"\b(?:papers?|abstracts?)\b.{0,40}\b(?:do|does)(?: not|n['’]t)\b|"
    r"\b(?:do|does)(?: not|n['’]t) (?:say|mention|provide|contain|specify)|"
    r"\bno (?:information|mention)\b|\bcannot (?:be )?(?:answer|determin)",
    re.IGNORECASE,
)


@contextlib.contextmanager
def open_plain(assistant: Assistant) -> Iterator[PlainPipeline]:
    """The baseline with the model, papers and settings of an assistant."""
    settings = assistant.settings
    plain = PlainPipeline(
        resolve(settings.model, settings.models_dir),
        assistant.search,
        gpu_layers=settings.layers,
        threads=settings.threads,
        model=settings.model,
    )
    try:
        yield plain
    finally:
        plain.close()


class PlainPipeline:
    """Retrieve, one prompt, done. Answers have the shape of ours; a quote is a whole abstract.

    Args:
        path: The model's GGUF file.
        search: Question, number of papers and filters in, passages out, best first.
        gpu_layers: As for ``Llama``.
        threads: As for ``Llama``.
        model: Its name, for the answers.
    """

    def __init__(
        self,
        path: Path,
        search: Callable[[str, int, Filters | None], Sequence[Passage]],
        *,
        gpu_layers: int,
        threads: int | None,
        model: str,
    ) -> None:
        self._search, self._name = search, model
        self._model = Llama(
            path, context_tokens=CONTEXT_TOKENS, sequences=1, gpu_layers=gpu_layers, threads=threads
        )
        layout = chat_format(
            self._model.chat_template, SYSTEM, bos=self._model.bos_text, eos=self._model.eos_text
        )
        self._before = self._model.tokenize(layout.before, special=True)
        self._after = self._model.tokenize(layout.after, special=True)

    def close(self) -> None:
        """Free the model."""
        self._model.close()

    def ask(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> Answer:
        """Answer a question; earlier ones are put in front of it."""
        started = time.perf_counter()
        asked = " ".join([*history, question])
        passages = self._search(asked, PAPERS, where)
        retrieved = time.perf_counter() - started
        abstracts = "\n\n".join(
            f"[{number}] {passage.paper.title}\n{passage.paper.abstract}"
            for number, passage in enumerate(passages, start=1)
        )
        text = self._model.tokenize(f"{abstracts}\n\nQuestion: {asked}")
        prompt = [*self._before, *text, *self._after]
        first, pieces = None, list[bytes]()
        for piece in self._write(prompt):
            first = first or time.perf_counter() - started
            pieces.append(piece)
        return _answer(
            question=question,
            text=b"".join(pieces).decode("utf-8", "replace").strip(),
            passages=passages,
            timings=Timings(retrieved, first, time.perf_counter() - started),
            tokens=Tokens(0, len(prompt), len(pieces)),
            model=self._name,
        )

    def _write(self, tokens: list[int]) -> Iterator[bytes]:
        self._model.choose_threads()
        self._model.cut_sequence(0)
        position = 0
        for _ in range(ANSWER_TOKENS):
            logits = self._model.decode([Span(0, position, tokens)])
            position += len(tokens)
            token = int(logits[0].argmax())
            if self._model.ends_turn(token):
                return
            yield self._model.piece(token)
            tokens = [token]


def _answer(
    *,
    question: str,
    text: str,
    passages: Sequence[Passage],
    timings: Timings,
    tokens: Tokens,
    model: str,
) -> Answer:
    numbers = sorted({int(n) for n in _MARKER.findall(text) if 1 <= int(n) <= len(passages)})
    citations = tuple(_whole_abstract(number, passages[number - 1]) for number in numbers)
    status: Status = "abstained" if _DECLINES.search(text) and not citations else "answered"
    return Answer(
        question=question,
        text=text,
        status=status,
        reason="the model says so" if status == "abstained" else None,
        sentences=(Sentence(text, citations, 0.0),) if status == "answered" else (),
        citations=citations,
        passages=tuple(
            ShownPassage(passage.paper, passage.chunk.id, passage.score, 0.0, None)
            for passage in passages
        ),
        timings=timings,
        tokens=tokens,
        model=model,
    )


def _whole_abstract(number: int, passage: Passage) -> Citation:
    paper = passage.paper
    return Citation(
        number, paper.id, paper.title, passage.chunk.id, 0, len(paper.abstract), paper.abstract
    )
