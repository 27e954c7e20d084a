"""The model as a reader of papers: each is read once, then asked.

Sits between `llama` (tokens and sequences) and `pipeline` (questions and answers): it knows where
in a prompt the paper stands, and keeps what was read. Sequence 0 holds the prefix that all papers
share; a paper's own sequence shares those cells, holds the paper's block after them, and is cut
back to the end of the block after every use.
"""

from __future__ import annotations

import codecs
import logging
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from assistant.chat_format import chat_format
from assistant.errors import ModelError
from assistant.llama import Llama, Span
from assistant.prompts import Prompts
from assistant.states import StateCache, state_name
from vectorstore import Paper

logger = logging.getLogger(__name__)

PAPER_TOKENS = 1536
"""Most of a paper that is read; the median abstract has 315 tokens, one in 10,000 has more."""

FRESH_TOKENS = 512
"""Room that is kept free for instructions and for what is written."""

_YES, _NO = ("Yes", " Yes", "yes", " yes"), ("No", " No", "no", " no")


@dataclass(slots=True)
class Counts:
    """Tokens, and papers read for the first time, since the count was started."""

    reused: int = 0
    prefilled: int = 0
    decoded: int = 0
    papers_read: int = 0


@dataclass(frozen=True, slots=True)
class _Slot:
    sequence: int
    end: int
    """Position after the paper's last token."""


class Reader:
    """Papers in, log odds and text out.

    Args:
        model: A loaded model; this reader is the only one who uses its sequences.
        prompts: What the model is told.
        open_states: Given the name of this model and prefix, the cache of its states.
    """

    def __init__(
        self, model: Llama, prompts: Prompts, open_states: Callable[[str], StateCache]
    ) -> None:
        self._model = model
        self._prompts = prompts
        self.counts = Counts()
        try:
            layout = chat_format(
                model.chat_template,
                prompts.system.template.strip(),
                bos=model.bos_text,
                eos=model.eos_text,
            )
        except ValueError as error:
            raise ModelError(
                f"{model.path.name}: {error}", model=model.path.name, hint="assistant models list"
            ) from error
        self._prefix = model.tokenize(layout.before, special=True)
        self._after = model.tokenize(layout.after, special=True)
        self._replies = [
            [tokens[0] for text in texts if len(tokens := model.tokenize(text)) == 1]
            for texts in (_YES, _NO)
        ]
        self._states = open_states(
            state_name(model.fingerprint(), array("i", self._prefix).tobytes())
        )
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._fresh: set[str] = set()
        model.decode([Span(0, 0, self._prefix)])

    def start_counting(self) -> None:
        """Count tokens from nothing: what is read from here on was not reused."""
        self.counts = Counts()
        self._fresh.clear()

    # Papers

    def is_read(self, paper: Paper) -> bool:
        """Whether the model need not read this paper any more."""
        name, _ = self._block(paper)
        return name in self._slots or name in self._states

    @property
    def has_room(self) -> bool:
        """Whether a further paper can be kept without forgetting another."""
        return not self._states.is_full

    def read(self, papers: Sequence[Paper]) -> None:
        """See to it that all these papers are in the cache at once, as far as it holds them."""
        wanted = [self._block(paper) for paper in papers]
        keep = [name for name, _ in wanted]
        for name, tokens in wanted:
            if name in self._slots:
                self._slots.move_to_end(name)
                self._states.touch(name)
                self.counts.reused += 0 if name in self._fresh else len(tokens)
            else:
                self._make_room(len(tokens) + FRESH_TOKENS, keep)
                self._place(name, tokens)

    def _block(self, paper: Paper) -> tuple[str, list[int]]:
        text = self._prompts.paper.substitute(title=paper.title, abstract=paper.abstract).strip()
        tokens = self._model.tokenize(text)[:PAPER_TOKENS]
        return state_name(array("i", tokens).tobytes()), tokens

    def _make_room(self, tokens: int, keep: Sequence[str]) -> None:
        """Free the papers used longest ago, wanted ones last, until so many tokens fit."""
        while self._slots and (
            len(self._slots) + 1 >= self._model.sequences or self._room() < tokens
        ):
            name = next((each for each in self._slots if each not in keep), next(iter(self._slots)))
            self._model.cut_sequence(self._slots.pop(name).sequence)

    def _room(self) -> int:
        prefix = len(self._prefix)
        taken = prefix + sum(slot.end - prefix for slot in self._slots.values())
        return self._model.context_tokens - taken

    def _free_sequence(self) -> int:
        taken = {slot.sequence for slot in self._slots.values()}
        return next(each for each in range(1, self._model.sequences) if each not in taken)

    def _place(self, name: str, tokens: list[int]) -> None:
        """Bring a paper into a free sequence, from its kept state or by reading it."""
        sequence, prefix = self._free_sequence(), len(self._prefix)
        state = self._states.get(name)
        if state is not None and self._model.load_sequence(sequence, state):
            self.counts.reused += len(tokens)
        else:
            self._read_anew(sequence, name, tokens)
        self._model.copy_sequence(0, sequence, prefix)
        self._slots[name] = _Slot(sequence, prefix + len(tokens))

    def _read_anew(self, sequence: int, name: str, tokens: list[int]) -> None:
        prefix = len(self._prefix)
        self._model.copy_sequence(0, sequence, prefix)
        try:
            self._model.decode([Span(sequence, prefix, tokens)])
        except BaseException:
            self._model.cut_sequence(sequence)
            raise
        self.counts.prefilled += len(tokens)
        self.counts.papers_read += 1
        self._fresh.add(name)
        # Without the prefix's cells: what is kept is the block alone.
        self._model.cut_sequence(sequence, 0, prefix)
        self._states.put(name, self._model.save_sequence(sequence))

    def _slot(self, paper: Paper) -> _Slot:
        name, _ = self._block(paper)
        if name not in self._slots:
            self.read([paper])
        return self._slots[name]

    # Questions

    @contextmanager
    def asking(self, papers: Sequence[Paper], question: str) -> Iterator[Asked]:
        """Put a question to papers; those that do not fit into the cache with it are left out.

        Args:
            papers: The most promising first.
            question: Plain text, whatever it holds.
        """
        before, _, after = self._prompts.question.template.partition("$question")
        scored = self._model.tokenize(f" {question}")
        stem = [*self._model.tokenize(before.rstrip(" ")), *scored]
        rest = self._model.tokenize(after)
        fitting = self._fitting(papers, len(stem) + len(rest))
        self.read(fitting)
        slots = {paper.id: self._slot(paper) for paper in fitting}
        try:
            likelihoods = self._model.log_likelihoods(
                [Span(slot.sequence, slot.end, stem) for slot in slots.values()], len(scored)
            )
            self.counts.prefilled += len(stem) * len(slots)
            ends = {
                paper_id: _Slot(slot.sequence, slot.end + len(stem))
                for paper_id, slot in slots.items()
            }
            yield Asked(self, fitting, [float(each) for each in likelihoods], ends, rest)
        finally:
            for slot in slots.values():
                self._model.cut_sequence(slot.sequence, slot.end)

    def _fitting(self, papers: Sequence[Paper], fresh: int) -> list[Paper]:
        room = self._model.context_tokens - len(self._prefix) - FRESH_TOKENS
        fitting: list[Paper] = []
        for paper in papers[: self._model.sequences - 2]:
            room -= len(self._block(paper)[1]) + fresh
            if room < 0 and fitting:
                break
            fitting.append(paper)
        return fitting

    def _suffix(self, text: str) -> list[int]:
        return self._model.tokenize(text) + self._after

    def _odds(self, slot: _Slot, tokens: list[int]) -> float:
        try:
            logits = self._model.decode([Span(slot.sequence, slot.end, tokens)])[0]
        finally:
            self._model.cut_sequence(slot.sequence, slot.end)
        self.counts.prefilled += len(tokens)
        yes, no = (np.logaddexp.reduce(logits[each].astype(np.float64)) for each in self._replies)
        return float(yes - no)

    def _continue(self, slot: _Slot, tokens: list[int], most: int) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        position = slot.end
        try:
            for count in range(most):
                logits = self._model.decode([Span(slot.sequence, position, tokens)])
                position += len(tokens)
                if count == 0:
                    self.counts.prefilled += len(tokens)
                else:
                    self.counts.decoded += 1
                token = int(logits[0].argmax())
                if self._model.ends_turn(token):
                    break
                if text := decoder.decode(self._model.piece(token)):
                    yield text
                tokens = [token]
        finally:
            self._model.cut_sequence(slot.sequence, slot.end)


class Asked:
    """A question that stands after each of some papers.

    Attributes:
        papers: Those that were asked.
        likelihoods: log P(question | paper), in nats, one per paper. It ranks papers by how well
            they explain the question (Ponte and Croft 1998, doi:10.1145/290941.291008; with a
            language model as reader: Sachan et al. 2022, arXiv:2204.07496).
    """

    def __init__(
        self,
        reader: Reader,
        papers: Sequence[Paper],
        likelihoods: Sequence[float],
        slots: Mapping[str, _Slot],
        rest: list[int],
    ) -> None:
        self.papers = papers
        self.likelihoods = likelihoods
        self._reader = reader
        self._slots = slots
        self._rest = rest

    def probe(self, paper: Paper) -> float:
        """Log odds of yes against no to "does this paper hold the answer"."""
        tokens = self._rest + self._reader._suffix(self._reader._prompts.probe.template.strip())
        return self._reader._odds(self._slots[paper.id], tokens)

    def write(self, paper: Paper, instruction: str, most: int) -> Iterator[str]:
        """Continue after paper, question and instruction, greedily, piece by piece.

        Args:
            paper: One of ``papers``.
            instruction: What to do about the question.
            most: Tokens to write at most.
        """
        tokens = self._rest + self._reader._suffix(instruction.strip())
        yield from self._reader._continue(self._slots[paper.id], tokens, most)
