"""The model as a reader of papers: each is read once, then asked.

Sits between `llama` (tokens and sequences) and `pipeline` (questions and answers): it knows where
in a prompt the paper stands, and keeps what was read. Sequence 0 holds the prefix that all papers
share; a paper's own sequence shares those cells, holds the paper's block (abstract and instruction)
after them, and is cut back to the end of the block after every use. So a question is the last thing
that the model reads, and it reads it once: the reply begins with yes or no, whose odds tell whether
to answer, and goes on with the answer. The last sequence is for writing: it shares a paper's cells.
"""

from __future__ import annotations

import codecs
import logging
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.errors import ModelError
from assistant.llm.chat_format import chat_format
from assistant.llm.engine import Counts
from assistant.llm.llama import Llama, Span
from assistant.llm.lookup import Lookup
from assistant.llm.prompt_parts import NO, YES, PromptParts
from assistant.llm.prompts import Prompts
from assistant.llm.states import StateCache, state_name
from vectorstore import Paper

logger = logging.getLogger(__name__)

PAPER_TOKENS = 1536
"""Most of a paper that is read; the median abstract has 315 tokens, one in 10,000 has more."""

FRESH_TOKENS = 400
"""Room that is kept free for what is written."""


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
        self._parts: PromptParts[int] = PromptParts(
            prompts, layout, model.tokenize, lambda tokens: tokens[:PAPER_TOKENS]
        )
        self._prefix = self._parts.prefix
        self._replies = [
            [tokens[0] for text in texts if len(tokens := model.tokenize(text)) == 1]
            for texts in (YES, NO)
        ]
        self._states = open_states(
            state_name(model.fingerprint(), array("i", self._prefix).tobytes())
        )
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._fresh: set[str] = set()
        model.decode([Span(0, 0, self._prefix)])

    at_once = 1

    def prepare(self) -> None:
        """Take as many threads as there are usable cores."""
        self._model.choose_threads()

    def stop(self) -> None:
        """Stop the model between two operations, from whatever thread."""
        self._model.stop.set()

    def rearm(self) -> None:
        """Let the model run again."""
        self._model.stop.clear()

    def close(self) -> None:
        """Free the model."""
        self._model.close()

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

    def read(
        self,
        papers: Sequence[Paper],
        *,
        pinned: Iterable[_Slot] = (),
        fresh: int = FRESH_TOKENS,
    ) -> None:
        """See to it that all these papers are in the cache at once, as far as it holds them.

        Args:
            papers: What is read.
            pinned: Papers that stay.
            fresh: Room to keep behind each, in tokens.
        """
        wanted = [self._block(paper) for paper in papers]
        stay = {slot.sequence for slot in pinned}
        keep = {name for name, slot in self._slots.items() if slot.sequence in stay}
        keep |= {name for name, _ in wanted}
        for name, tokens in wanted:
            if name in self._slots:
                self._slots.move_to_end(name)
                self._states.touch(name)
                self.counts.reused += 0 if name in self._fresh else len(tokens)
            else:
                self._make_room(len(tokens) + (len(keep) + 1) * fresh + FRESH_TOKENS, keep)
                self._place(name, tokens)

    def _block(self, paper: Paper) -> tuple[str, list[int]]:
        tokens = self._parts.block(paper)
        return state_name(array("i", tokens).tobytes()), tokens

    def _make_room(self, tokens: int, keep: Set[str]) -> None:
        """Free the papers used longest ago, wanted ones last, until so many tokens fit."""
        while self._slots and (
            len(self._slots) + 2 >= self._model.sequences or self._room() < tokens
        ):
            name = next((each for each in self._slots if each not in keep), next(iter(self._slots)))
            self._model.cut_sequence(self._slots.pop(name).sequence)

    @property
    def _scratch(self) -> int:
        return self._model.sequences - 1

    def _room(self) -> int:
        prefix = len(self._prefix)
        taken = prefix + sum(slot.end - prefix for slot in self._slots.values())
        return self._model.context_tokens - taken

    def _free_sequence(self) -> int:
        taken = {slot.sequence for slot in self._slots.values()}
        return next(each for each in range(1, self._model.sequences - 1) if each not in taken)

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
        model, prefix = self._model, len(self._prefix)
        model.copy_sequence(0, sequence, prefix)
        try:
            model.decode([Span(sequence, prefix, tokens)])
        except BaseException:
            model.cut_sequence(sequence)
            raise
        self.counts.prefilled += len(tokens)
        self.counts.papers_read += 1
        self._fresh.add(name)
        # Without the prefix's cells: what is kept is the block alone.
        model.cut_sequence(sequence, 0, prefix)
        self._states.put(name, model.save_sequence(sequence))

    def _slot(self, paper: Paper) -> _Slot:
        return self._slots[self._block(paper)[0]]

    def _fitting(
        self, papers: Sequence[Paper], weighed: Mapping[str, _Slot], fresh: int
    ) -> list[Paper]:
        """The first of the papers, as many as fit into the cache beside those weighed before."""
        prefix = len(self._prefix)
        room = self._model.context_tokens - prefix - FRESH_TOKENS - fresh
        room -= sum(slot.end - prefix + fresh for slot in weighed.values())
        fitting: list[Paper] = []
        for paper in papers[: self._model.sequences - 3 - len(weighed)]:
            room -= len(self._block(paper)[1]) + fresh
            if room < 0 and (fitting or weighed):
                break
            fitting.append(paper)
        return fitting

    # Questions

    @contextmanager
    def asking(self, question: str, *, context: str = "") -> Iterator[ReaderAsked]:
        """Put a question to papers; at the end they stand as they did before.

        Args:
            question: Plain text, whatever it holds.
            context: Stands in front of it, and does not count when papers are ranked.
        """
        stem, scored = self._parts.stem(question, context)
        asked = ReaderAsked(self, stem, scored=scored)
        try:
            yield asked
        finally:
            asked._leave()

    def _odds(self, logits: NDArray[np.float32]) -> float:
        yes, no = (np.logaddexp.reduce(logits[each].astype(np.float64)) for each in self._replies)
        return float(yes - no)

    def _continue(
        self, position: int, last: NDArray[np.float32], most: int, source: Sequence[int]
    ) -> Iterator[str]:
        """Write greedily into the scratch sequence; runs of ``source`` are guessed and checked.

        Args:
            position: Where the next token goes.
            last: The logits for it, of shape (1, vocabulary size).
            most: Tokens to write at most.
            source: What is likely to be copied.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        lookup, written, guess, logits = Lookup(source), list[int](), list[int](), last
        while True:
            chosen = [int(row.argmax()) for row in logits]
            right = next((n for n, token in enumerate(guess) if token != chosen[n]), len(guess))
            position += right
            self._model.cut_sequence(self._scratch, position)
            for token in chosen[: right + 1]:
                if self._model.ends_turn(token):
                    return
                self.counts.decoded += 1
                written.append(token)
                if text := decoder.decode(self._model.piece(token)):
                    yield text
            if len(written) >= most:
                return
            guess = lookup.guess(written, most - len(written) - 1)
            logits = self._model.decode(
                [Span(self._scratch, position, [written[-1], *guess])], last=len(guess) + 1
            )
            position += 1


class ReaderAsked:
    """A question that stands after each of some papers.

    Attributes:
        likelihoods: By paper id: log P(question | paper), in nats. It ranks papers by how well
            they explain the question (Ponte and Croft 1998, doi:10.1145/290941.291008; with a
            language model as reader: Sachan et al. 2022, arXiv:2204.07496).
        probes: By paper id: log odds of yes against no to "does this paper hold the answer".
    """

    def __init__(self, reader: Reader, stem: list[int], *, scored: int) -> None:
        self.likelihoods: dict[str, float] = {}
        self.probes: dict[str, float] = {}
        self._reader = reader
        self._stem, self._scored = stem, scored
        self._slots: dict[str, _Slot] = {}
        """Where a paper's block ends."""

    def weigh(self, papers: Sequence[Paper]) -> list[Paper]:
        """Let papers meet the question, all in one pass.

        Args:
            papers: The most promising first; those that were weighed before are passed over.

        Returns:
            Those that were weighed now: all but the last ones, if the cache has no room for them.
        """
        reader = self._reader
        fresh = len(self._stem) + len(reader._parts.after)
        fitting = reader._fitting(
            [paper for paper in papers if paper.id not in self._slots], self._slots, fresh
        )
        if not fitting:
            return []
        reader.read(fitting, pinned=self._slots.values(), fresh=fresh)
        slots = {paper.id: reader._slot(paper) for paper in fitting}
        self._slots |= slots
        stems = [Span(slot.sequence, slot.end, self._stem) for slot in slots.values()]
        likelihoods, logits = reader._model.weigh(stems, self._scored, reader._parts.after)
        reader.counts.prefilled += len(stems) * self._asked_tokens
        for nth, paper in enumerate(fitting):
            self.likelihoods[paper.id] = float(likelihoods[nth])
            self.probes[paper.id] = reader._odds(logits[nth])
        return fitting

    def read(self, paper: Paper) -> None:
        """Read a paper that is to be weighed; those that were weighed before stay."""
        self._reader.read([paper], pinned=self._slots.values())

    def write(self, paper: Paper, most: int, instruction: str = "") -> Iterator[str]:
        """What the model says of a paper, greedily, piece by piece.

        Args:
            paper: One that was weighed.
            most: Tokens to write at most.
            instruction: What to do about the question, read behind it; without one, to answer it.
        """
        reader = self._reader
        source = [*reader._block(paper)[1], *self._stem]
        span = self._instead(paper, instruction) if instruction else self._affirmed(paper)
        try:
            reader._model.cut_sequence(span.sequence)
            reader._model.copy_sequence(
                self._slots[paper.id].sequence, span.sequence, span.position
            )
            reader.counts.prefilled += len(span.tokens)
            logits = reader._model.decode([span])
            yield from reader._continue(span.position + len(span.tokens), logits, most, source)
        finally:
            reader._model.cut_sequence(span.sequence)

    def _affirmed(self, paper: Paper) -> Span:
        """Yes, behind a paper and the question: there the answer begins."""
        position = self._slots[paper.id].end + self._asked_tokens
        return Span(self._reader._scratch, position, self._reader._parts.affirmed)

    def _instead(self, paper: Paper, instruction: str) -> Span:
        """The question and what to do about it, behind a paper's abstract."""
        reader = self._reader
        block = reader._block(paper)[1]
        position = len(reader._prefix) + len(reader._parts.abstract(block))
        return Span(reader._scratch, position, reader._parts.instead(self._stem, instruction))

    @property
    def _asked_tokens(self) -> int:
        return len(self._stem) + len(self._reader._parts.after)

    def _leave(self) -> None:
        for slot in self._slots.values():
            self._reader._model.cut_sequence(slot.sequence, slot.end)
