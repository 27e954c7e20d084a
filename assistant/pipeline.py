"""From a question to a cited answer: the one path behind page, terminal, `ask()` and batch.

    retrieve -> probe -> write from one paper at a time -> verify -> cite, or abstain

The model never writes a citation. A sentence comes out of one paper's own sequence, so where it
comes from is known; it is shown only if that paper holds its words, numbers and names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from assistant.errors import ModelError
from assistant.llama import Llama, StoppedError
from assistant.models import resolve, sha256_of
from assistant.prompts import load_prompts
from assistant.question import asks_for_several, checked, refers_back
from assistant.reader import Asked, Reader
from assistant.resources import resource
from assistant.sentences import ends_sentence, sentence_spans
from assistant.settings import EMBEDDING_MODEL, Settings, load_settings
from assistant.states import StateCache
from assistant.streams import EventStream, Worker
from assistant.types import (
    Answer,
    Citation,
    Done,
    Draft,
    Event,
    Probed,
    Queued,
    Ranked,
    Reading,
    Retrieved,
    Sentence,
    ShownPassage,
    Status,
    Timings,
    Tokens,
    Verified,
)
from assistant.verification import Check, Evidence
from vectorstore import Paper, Passage
from vectorstore.chunking import chunk_paper

if TYPE_CHECKING:
    from vectorstore.store import Store

logger = logging.getLogger(__name__)

# Measured on the development questions, see docs/engine.md.
RETRIEVAL_WEIGHT = 1.0
"""Nats of likelihood that a unit of the retrieval's score is worth when papers are ranked."""
PROBE_AT_LEAST = 0.2
"""Log odds under which a paper does not hold the answer, whatever the model would write."""
PROBE_IF_FOREIGN = 1.5
"""The same for a question with a name in it that the paper does not have: a benchmark, a model."""
PROBE_SURE = 1.0
"""Log odds from which the usual support is enough."""
SUPPORT_AT_LEAST, SUPPORT_IF_UNSURE = 0.7, 0.85
"""Share of a sentence's content words that its paper must hold."""
PROBE_TO_QUOTE = 1.3
"""Log odds from which the paper is quoted if nothing that was written could be verified."""
SHARE_OF_BEST = 0.6
"""Papers of an answer from several: likelihood between the worst (0) and the best (1) asked."""

SENTENCE_TOKENS, ANSWER_TOKENS = 90, 200
MOST_BULLETS = 4
CONTEXT_TOKENS = 6144
MEMORY_BYTES = 512_000_000

EXAMPLES = (
    "Which papers make diffusion models forget unsafe concepts, and how?",
    "How many datasets does BenchX include, and what did it reveal about older methods?",
    "What does the temperature do in contrastive learning?",
    "How expensive was it to make a language model forget Harry Potter?",
)
"""Questions for the bundled collection."""

_MARKER = re.compile(r"\s*\[\s*\d+(?:\s*[,;–-]\s*\d+)*\s*\]")
"""What looks like a citation and is none of ours: out of a question, an abstract or a title."""

_FRAME = re.compile(
    r"^(?:the|this) (?:abstract|paper|authors?) (?:(?:also|then|further|specifically) )*"
    r"(?:states?|mentions?|says?|notes?|explains?|shows?|highlights?|reports?|argues?) that\s+",
    re.IGNORECASE,
)
"""What the model puts around what a paper says; the citation says it better."""
_LIST_NUMBER = re.compile(r"^\d{1,2}[.)]\s+")

_DECLINES = re.compile(
    r"\b(?:does|do|did|is|are|was|were|has|have)(?:\s+not|n['’]t)\s+(?:\w+\s+){0,3}?"
    r"(?:mention|specif|stat|provid|say|contain|discuss|report|give|address|include|disclos|"
    r"explicit|detail|indicat|describ|cover|available|clear)"
    r"|\bno\s+(?:information|mention|details?)\b|\bunclear\b|\bcannot\s+(?:be\s+)?(?:determin|answer)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Page:
    """One paper that is being written from."""

    paper: Paper
    evidence: Evidence
    probe: float
    lead: str
    """Goes before each sentence: the title, where several papers answer."""
    invented: bool = False
    """A number that the paper does not have was written: the answer is not in there."""
    declined: bool = False
    """The model itself wrote that the paper does not say."""

    @property
    def support_wanted(self) -> float:
        sure = self.probe >= PROBE_SURE or self.lead
        return SUPPORT_AT_LEAST if sure else SUPPORT_IF_UNSURE

    @property
    def may_be_quoted(self) -> bool:
        sure = self.probe >= PROBE_TO_QUOTE or self.lead
        return bool(sure) and not self.invented and not self.declined


@dataclass(slots=True)
class _Run:
    """What is known about one question so far."""

    question: str
    started: float
    earlier: str = ""
    """The questions that this one leans on."""
    passages: tuple[Passage, ...] = ()
    retrieved_seconds: float | None = None
    first_text_seconds: float | None = None
    likelihoods: dict[str, float] = field(default_factory=dict)
    """By paper id, best first."""
    probed: dict[str, float] = field(default_factory=dict)
    sentences: list[Sentence] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)

    @property
    def standalone(self) -> str | None:
        """What is really asked, where it is more than the question."""
        return f"{self.earlier} {self.question}" if self.earlier else None

    @property
    def asked(self) -> str:
        """The question that the papers are asked."""
        return self.standalone or self.question

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started


class Assistant:
    """Answers questions of one collection with one model. Thread-safe; questions queue up.

    Args:
        settings: Everything that can be chosen; by default read from file and environment.
        **flags: Single settings on top, such as ``model="..."`` or ``index=path``.

    Raises:
        SettingsError: A setting is unknown or out of range.
    """

    def __init__(self, settings: Settings | None = None, **flags: Any) -> None:
        if settings is None or flags:
            base = settings.model_dump() if settings else {}
            settings = load_settings(**(base | flags))
        self.settings = settings
        self._prompts = load_prompts(resource("prompts/answer.toml"))
        self._store: Store | None = None
        self._reader: Reader | None = None
        self._model: Llama | None = None
        self._opening = threading.Lock()
        self._worker = Worker(interrupt=self._stop_model, rearm=self._rearm_model)

    # What is asked

    def ask(self, question: str, *, history: Sequence[str] = ()) -> Answer:
        """Answer a question; ``stream`` drained.

        Args:
            question: In words, at most 2,000 characters.
            history: Earlier questions of the conversation, oldest first.

        Raises:
            QuestionError: There is no question in it.
            StoreError: The index is missing, damaged or of another make.
            ModelError: The model is missing, damaged, or does not fit into memory.
        """
        with self.stream(question, history=history) as events:
            for event in events:
                if isinstance(event, Done):
                    return event.answer
        raise ModelError("the question was stopped", model=self.settings.model, hint="ask it again")

    def stream(self, question: str, *, history: Sequence[str] = ()) -> EventStream[Event]:
        """Answer a question, step by step; the last event is ``Done``.

        Closing the stream, from whatever thread, stops the model within a token.

        Raises:
            As ``ask``; what goes wrong later is raised by the iteration.
        """
        run = _Run(question=checked(question), started=time.perf_counter())
        earlier = [checked(each) for each in history if each.strip()]
        store = self.store
        run.earlier = _leaned_on(run.question, earlier)
        first = [self._retrieve(run, store)]
        stream, ahead = self._worker.submit(lambda: self._events(run, store, first))
        if ahead:
            stream.announce(Queued(ahead))
        return stream

    def search(self, query: str, top_k: int = 8) -> tuple[Passage, ...]:
        """The papers closest to a query, best first, without the language model."""
        return self.store.search(checked(query), top_k=top_k)

    @property
    def store(self) -> Store:
        """The collection; opened when first needed."""
        with self._opening:
            if self._store is None:
                from vectorstore.embedding import MiniLMEmbedder
                from vectorstore.store import Store

                folder = resolve(EMBEDDING_MODEL, self.settings.models_dir)
                self._store = Store.open(self.settings.index, MiniLMEmbedder(folder))
            return self._store

    @property
    def examples(self) -> tuple[str, ...]:
        """Questions for the bundled collection; none are known for another."""
        bundled = any(paper.title.startswith("BenchX") for paper in self.store.papers())
        return EXAMPLES if bundled else ()

    def preload(self) -> None:
        """Start loading the model, so that the first question need not wait for it."""
        stream, _ = self._worker.submit(self._loading)
        self._preloading = stream

    def read_ahead(self) -> None:
        """Read papers while nobody asks, so that questions meet papers that are read already."""
        papers = itertools.islice(self.store.papers(), self.settings.read_ahead)
        self._worker.while_idle(functools.partial(self._read_one, list(papers)))

    def warm(
        self, papers: Sequence[Paper], *, progress: Callable[[int], None] | None = None
    ) -> int:
        """Read papers that are not read yet, as far as there is room for them.

        Args:
            papers: In the order in which they are read.
            progress: Told how many of them are read, after each.

        Returns:
            How many of them are read now.

        Raises:
            ModelError: The model is missing, damaged, or does not fit into memory.
        """
        stream, _ = self._worker.submit(lambda: self._warming(papers))
        read = 0
        with stream as events:
            for read in events:
                if progress is not None:
                    progress(read)
        return read

    def _warming(self, papers: Sequence[Paper]) -> Iterator[int]:
        reader, read = self._open_reader(), 0
        self._choose_threads()
        for paper in papers:
            if not reader.is_read(paper):
                if not reader.has_room:
                    continue
                try:
                    reader.read([paper])
                except StoppedError:
                    return
            read += 1
            yield read

    def _read_one(self, unread: list[Paper]) -> bool:
        """Read the first of the papers that is not read yet; whether any is left."""
        reader = self._open_reader()
        while unread and reader.is_read(unread[0]):
            unread.pop(0)
        if unread and reader.has_room:
            with contextlib.suppress(StoppedError):
                reader.read(unread[:1])
                logger.info("read ahead, %d left", len(unread) - 1)
        return bool(unread) and reader.has_room

    def _loading(self) -> Iterator[Event]:
        self._open_reader()
        return iter(())

    def close(self) -> None:
        """Stop what runs and free the model."""
        self._worker.close()
        if self._model is not None:
            self._model.close()
            self._model = self._reader = None
        if self._store is not None:
            self._store.close()
            self._store = None

    def __enter__(self) -> Assistant:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # The model; all of it on the worker's thread, but for the stop

    def _stop_model(self) -> None:
        if self._model is not None:
            self._model.stop.set()

    def _rearm_model(self) -> None:
        if self._model is not None:
            self._model.stop.clear()

    def _open_reader(self) -> Reader:
        if self._reader is None:
            path = resolve(self.settings.model, self.settings.models_dir)
            model = Llama(
                path,
                context_tokens=CONTEXT_TOKENS,
                gpu_layers=self.settings.layers,
                threads=self.settings.threads,
            )
            try:
                self._reader = Reader(model, self._prompts, functools.partial(self._states, path))
            except BaseException:
                model.close()
                raise
            self._model = model
        return self._reader

    def _states(self, path: Path, name: str) -> StateCache:
        return StateCache(
            self.settings.states_dir / f"{sha256_of(path)[:16]}-{name}",
            disk_bytes=int(self.settings.states_gigabytes * 1e9),
            memory_bytes=MEMORY_BYTES,
        )

    # The steps

    def _retrieve(self, run: _Run, store: Store) -> Retrieved:
        run.passages = store.search(run.asked, top_k=self.settings.max_papers)
        run.retrieved_seconds = run.seconds
        return Retrieved(run.passages, run.retrieved_seconds, run.standalone)

    def _events(self, run: _Run, store: Store, first: Sequence[Event]) -> Iterator[Event]:
        try:
            yield from first
            if not run.passages:
                yield self._done(run, "abstained", "there is no paper in the collection")
                return
            reader = self._open_reader()
            reader.start_counting()
            self._choose_threads()
            papers = [passage.paper for passage in run.passages]
            yield from self._read(papers, reader)
            with reader.asking(papers, run.asked) as asked:
                yield from self._answer(run, asked, store)
        except StoppedError:
            logger.info("stopped after %.1f s", run.seconds)

    def _choose_threads(self) -> None:
        if self._model is not None:
            self._model.choose_threads()

    def _read(self, papers: Sequence[Paper], reader: Reader) -> Iterator[Event]:
        unread = [paper for paper in papers if not reader.is_read(paper)]
        for position, paper in enumerate(unread, start=1):
            yield Reading(paper, position, len(unread))
            reader.read([paper])

    def _answer(self, run: _Run, asked: Asked, store: Store) -> Iterator[Event]:
        ranked = _ranked(run, asked)
        yield Ranked(tuple(ranked))
        most = MOST_BULLETS if asks_for_several(run.asked) else 1
        ranked = _sharing(run, ranked)[:most]
        several, asked_of = len(ranked) > 1, 0
        for paper in ranked:
            run.probed[paper.id] = asked.probe(paper)
            yield Probed(paper, run.probed[paper.id])
            evidence = Evidence(paper.title, paper.abstract, store.document_frequency, len(store))
            foreign = not several and evidence.foreign_names(run.question)
            if run.probed[paper.id] < (PROBE_IF_FOREIGN if foreign else PROBE_AT_LEAST):
                continue
            asked_of += 1
            page = _Page(
                paper,
                evidence,
                run.probed[paper.id],
                lead=f"{_MARKER.sub('', paper.title)}: " if several else "",
            )
            yield from self._write(run, asked, page)
        if run.sentences:
            yield self._done(run, "answered", None)
        elif not asked_of:
            yield self._done(run, "abstained", "no paper that was read holds the answer")
        else:
            yield self._done(
                run, "abstained", "what the model wrote is not supported by the papers"
            )

    def _write(self, run: _Run, asked: Asked, page: _Page) -> Iterator[Event]:
        """Write from one paper; quote it where nothing that was written can be verified."""
        prompts, before = self._prompts, len(run.sentences)
        if page.lead:
            yield from self._draft(run, asked, page, prompts.bullet.template, SENTENCE_TOKENS)
        else:
            yield from self._draft(run, asked, page, prompts.answer.template, ANSWER_TOKENS)
        if len(run.sentences) == before and page.may_be_quoted:
            yield from self._draft(run, asked, page, prompts.quote.template, ANSWER_TOKENS)

    def _draft(
        self, run: _Run, asked: Asked, page: _Page, instruction: str, most: int
    ) -> Iterator[Event]:
        """Each sentence is verified as soon as it is complete."""
        text, judged, pieces = "", 0, 0
        written: set[str] = set()
        for piece in asked.write(page.paper, instruction, most):
            text += piece
            pieces += 1
            spans = sentence_spans(text)
            for start, end in spans[judged:-1]:
                judged += 1
                if text[start:end] in written:
                    return  # the model goes round in circles
                written.add(text[start:end])
                yield from self._judge(run, page, text[start:end])
            if spans[judged:]:
                yield Draft(text[spans[judged][0] :])
        for start, end in sentence_spans(text)[judged:]:
            if pieces < most or ends_sentence(text[start:end]):  # else it was cut off
                yield from self._judge(run, page, text[start:end])

    def _judge(self, run: _Run, page: _Page, text: str) -> Iterator[Event]:
        text = _unframed(" ".join(_MARKER.sub("", text).split()).strip('*"“” '))
        check = page.evidence.check(text, run.asked)
        logger.info("support %.2f, %s: %s", check.support, check, text)
        page.invented = page.invented or bool(check.missing_numbers)
        page.declined = page.declined or bool(_DECLINES.search(text))
        supported = check.sound and check.spans and check.support >= page.support_wanted
        if not supported or _DECLINES.search(text):
            return
        if rival := page.evidence.rival_span(text, check.spans):
            text = " ".join(page.paper.abstract[slice(*rival)].split())
            check = dataclasses.replace(check, spans=(rival,))
        if any(text in sentence.text for sentence in run.sentences):
            return
        sentence = self._cited(run, page, text, check)
        run.sentences.append(sentence)
        if run.first_text_seconds is None:
            run.first_text_seconds = run.seconds
        yield Verified(sentence)

    def _cited(self, run: _Run, page: _Page, text: str, check: Check) -> Sentence:
        citations = tuple(self._citation(run, page.paper, a, b) for a, b in check.spans)
        markers = "".join(f"[{citation.number}]" for citation in citations)
        verbatim = any(text in " ".join(each.quote.split()) for each in citations)
        return Sentence(f"{page.lead}{text} {markers}", citations, check.support, verbatim)

    def _citation(self, run: _Run, paper: Paper, start: int, end: int) -> Citation:
        for known in run.citations:
            if (known.paper_id, known.start, known.end) == (paper.id, start, end):
                return known
        citation = Citation(
            number=len(run.citations) + 1,
            paper_id=paper.id,
            title=paper.title,
            chunk_id=next(chunk.id for chunk in chunk_paper(paper) if start < chunk.end),
            start=start,
            end=end,
            quote=paper.abstract[start:end],
        )
        run.citations.append(citation)
        return citation

    def _done(self, run: _Run, status: Status, reason: str | None) -> Done:
        found = {passage.paper.id: passage for passage in run.passages}
        shown = tuple(
            ShownPassage(
                paper=found[paper_id].paper,
                chunk_id=found[paper_id].chunk.id,
                score=found[paper_id].score,
                likelihood=likelihood,
                probe=run.probed.get(paper_id),
            )
            for paper_id, likelihood in run.likelihoods.items()
        )
        counts = self._reader.counts if self._reader else None
        answer = Answer(
            question=run.question,
            text=_text(run, status),
            status=status,
            reason=reason,
            sentences=tuple(run.sentences),
            citations=tuple(run.citations),
            passages=shown,
            timings=Timings(run.retrieved_seconds, run.first_text_seconds, run.seconds),
            tokens=Tokens(**dataclasses.asdict(counts)) if counts else Tokens(),
            model=self.settings.model,
            standalone_question=run.standalone,
        )
        logger.info("%s in %.1f s, %s", status, run.seconds, answer.tokens)
        return Done(answer)


def _unframed(text: str) -> str:
    """A sentence without "The abstract states that" and the like, and without a list's number."""
    bare = _FRAME.sub("", _LIST_NUMBER.sub("", text))
    return bare[:1].upper() + bare[1:] if bare != text else text


def _leaned_on(question: str, history: Sequence[str]) -> str:
    """The earlier questions without which this one cannot be understood, oldest first."""
    leaned_on: list[str] = []
    for earlier in reversed(history):
        if not refers_back(leaned_on[0] if leaned_on else question):
            break
        leaned_on.insert(0, earlier)
    return " ".join(leaned_on)


def _ranked(run: _Run, asked: Asked) -> list[Paper]:
    """Papers by how well they explain the question; the retrieval's score breaks near ties."""
    scores = {passage.paper.id: passage.score for passage in run.passages}
    likelihoods = {p.id: each for p, each in zip(asked.papers, asked.likelihoods, strict=True)}
    ranked = sorted(
        asked.papers, key=lambda p: -(likelihoods[p.id] + RETRIEVAL_WEIGHT * scores[p.id])
    )
    run.likelihoods = {paper.id: likelihoods[paper.id] for paper in ranked}
    return ranked


def _sharing(run: _Run, ranked: Sequence[Paper]) -> list[Paper]:
    """Those of the ranked papers that explain the question nearly as well as the best."""
    worst, best = min(run.likelihoods.values()), max(run.likelihoods.values())
    floor = worst + SHARE_OF_BEST * (best - worst)
    return [paper for paper in ranked if run.likelihoods[paper.id] >= floor]


def _text(run: _Run, status: Status) -> str:
    if status == "answered":
        bulleted = len({sentence.citations[0].paper_id for sentence in run.sentences}) > 1
        joint = "\n" if bulleted else " "
        return joint.join(("- " if bulleted else "") + each.text for each in run.sentences)
    text = "The papers do not say."
    if run.likelihoods:
        titles = {passage.paper.id: passage.paper.title for passage in run.passages}
        closest = list(run.likelihoods)[:3]
        text += " The closest are: " + "; ".join(titles[each] for each in closest) + "."
    return text
