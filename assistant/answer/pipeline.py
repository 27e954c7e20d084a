"""From a question to a cited answer: the one path behind page, terminal, `ask()` and batch.

    retrieve -> probe -> write from one paper at a time -> verify -> cite, or abstain

The model never writes a citation. A sentence comes out of one paper's own sequence, so where it
comes from is known; it is shown only if that paper holds its words, numbers and names.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import itertools
import logging
import statistics
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assistant.answer.answering import Answering
from assistant.answer.calibration import Thresholds, kept
from assistant.answer.collection import Listing, about_collection, look_up
from assistant.answer.loaded import LoadedModels
from assistant.answer.question import asks_for_several, checked, refers_back, shifts_subject
from assistant.answer.verification import Evidence
from assistant.answer.writing import Claim, Page, unquoted
from assistant.checking.sentences import ends_sentence, sentence_spans
from assistant.checking.texts import MOST_CHARACTERS, PAPERS_COMPARED, check_text
from assistant.errors import ModelError, QuestionError
from assistant.llm.ahead import Progress, ReadAhead
from assistant.llm.engine import Asked, Engine, StoppedError
from assistant.llm.engines import check_engine
from assistant.settings import Settings, load_settings
from assistant.streaming.streams import AsyncEventStream, EventStream
from assistant.types import (
    Answer,
    CheckedSentence,
    Done,
    Draft,
    Event,
    Probed,
    Queued,
    Ranked,
    Reading,
    Retrieved,
    Status,
    Tokens,
    Verified,
)
from vectorstore import Paper, Passage
from vectorstore.chunking import chunk_paper

if TYPE_CHECKING:
    from vectorstore.filters import Filters
    from vectorstore.store import Store

logger = logging.getLogger(__name__)

# Measured on the development questions, see docs/engine.md.
RETRIEVAL_WEIGHT, PROBE_WEIGHT = 1.0, 4.0
"""Nats that a unit of the retrieval's score and of the probe's log odds are worth in a ranking."""
PROBE_SETTLES, LEAD_SETTLES = 0.4, 12.0
"""Log odds from which no further paper is looked at, where one paper is to answer; and nats before
the second paper from which those may be as low as the answer's threshold."""
STANDS_OUT, SEVERAL_RETRIEVAL_WEIGHT, SEVERAL_PROBE_WEIGHT = 11.0, 3.0, 10.0
"""Papers of an answer from several: nats over the median of those that were weighed, and what the
scores are worth there."""

WAVES = (1, 1, 2, 4)
"""How many papers meet a question at a time, until it is clear which one answers."""
ANSWER_TOKENS, BULLET_TOKENS = 200, 120
MOST_BULLETS = 4
_NO_PAPERS = "there is no paper in the collection"
_NONE_MEETS = "no paper of the collection meets the filters"

EXAMPLES = (
    "Which papers make diffusion models forget unsafe concepts, and how?",
    "How many datasets does BenchX include, and what did it reveal about older methods?",
    "What does the temperature do in contrastive learning?",
    "How expensive was it to make a language model forget Harry Potter?",
)
"""Questions for the bundled collection."""


class Assistant:
    """Answers questions of one collection with one model. Thread-safe; questions queue up.

    Args:
        settings: Everything that can be chosen; by default read from file and environment.
        first: An assistant whose models this one shares; see `of`.
        **flags: Single settings on top, such as ``model="..."`` or ``index=path``.

    Raises:
        SettingsError: A setting is unknown or out of range.
    """

    def __init__(
        self, settings: Settings | None = None, *, first: Assistant | None = None, **flags: Any
    ) -> None:
        if settings is None:
            self.settings = load_settings(**flags)
            for notice in self.settings.notices:
                logger.warning(notice)
        else:
            self.settings = settings.changed(**flags)
        self._first = first or self
        self._others: dict[str, Assistant] = {}
        self._models: LoadedModels = first._models if first else LoadedModels(self.settings)
        self._worker = self._models.worker
        self._store: Store | None = None
        self._ahead: ReadAhead | None = None
        self._opening = threading.Lock()

    def of(self, collection: str) -> Assistant:
        """The assistant of another collection, with the same models and in the same queue.

        It is closed with the first one. Without a name, or with its own, it is this one.

        Raises:
            CollectionError: There is no such collection.
        """
        first = self._first
        if collection in ("", self.settings.place_name):
            return self
        if collection == first.settings.place_name:
            return first
        first.settings.collections.require(collection)
        with first._opening:
            if collection not in first._others:
                other = Assistant(first.settings, first=first, collection=collection)
                if first._ahead:
                    other.read_ahead()
                first._others[collection] = other
            return first._others[collection]

    @contextlib.contextmanager
    def making(self, collection: str) -> Iterator[Store]:
        """Make a collection of what is ingested in the block; if that fails, there is none.

        Raises:
            CollectionError: There is one of this name, or the name is none.
        """
        from vectorstore.store import Store

        with (
            self.settings.collections.placing(collection) as folder,
            Store.create(folder, self._models.embedder) as store,
        ):
            yield store

    # What is asked

    def ask(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> Answer:
        """Answer a question; ``stream`` drained.

        Args:
            question: In words, at most 2,000 characters.
            history: Earlier questions of the conversation, oldest first.
            where: What the papers must meet that may be asked.

        Raises:
            QuestionError: There is no question in it.
            StoreError: The index is missing, damaged or of another make.
            ModelError: The model is missing, damaged, does not fit into memory, or its server
                cannot be used.
        """
        with self.stream(question, history=history, where=where) as events:
            for event in events:
                if isinstance(event, Done):
                    return event.answer
        raise self._was_stopped()

    async def aask(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> Answer:
        """Answer a question; `astream` drained. Cancelling it stops the model.

        Args and errors are those of `ask`.
        """
        async with self.astream(question, history=history, where=where) as events:
            async for event in events:
                if isinstance(event, Done):
                    return event.answer
        raise self._was_stopped()

    def astream(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> AsyncEventStream[Event]:
        """Answer a question, step by step, without blocking the event loop; as `stream`.

        Closing the stream, and cancelling the task that reads it, stops the model within a token.

        Raises:
            RuntimeError: No event loop is running. What `stream` raises, the iteration raises.
        """
        return AsyncEventStream(lambda: self.stream(question, history=history, where=where))

    def stream(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> EventStream[Event]:
        """Answer a question, step by step; the last event is ``Done``.

        Closing the stream, from whatever thread, stops the model within a token.

        Raises:
            As ``ask``; what goes wrong later is raised by the iteration.
        """
        run = Answering(checked(question), where=where)
        earlier = [checked(each) for each in history if each.strip()]
        store = self.store
        wanted = about_collection(run.question)
        if wanted and (listing := look_up(wanted, store, where)):
            return self._worker.submit(lambda: iter(()), self._listed(run, listing, store))
        run.earlier = _leaned_on(run.question, earlier)
        run.shifts = bool(run.earlier) and shifts_subject(run.question)
        first: list[Event] = [self._retrieve(run, store)]
        if self._ahead:
            self._ahead.prefer(passage.paper for passage in run.passages)
        return self._worker.submit(lambda: self._events(run, store), first, Queued)

    def search(
        self, query: str, top_k: int = 8, where: Filters | None = None
    ) -> tuple[Passage, ...]:
        """The papers closest to a query, best first, without the language model."""
        return self.store.search(checked(query), top_k=top_k, where=where)

    def check(
        self, text: str, *, paper: str = "", where: Filters | None = None
    ) -> tuple[CheckedSentence, ...]:
        """Compare a text with the papers, sentence by sentence, without the language model.

        Args:
            text: Any prose, at most `assistant.checking.texts.MOST_CHARACTERS` characters.
            paper: Id or exact title of the one paper to compare with; by default the nearest ones.
            where: What the papers must meet that may be compared.

        Raises:
            QuestionError: There is no text, or too much of it.
            PaperNotFoundError: There is no such paper.
            StoreError: The index is missing, damaged or of another make.
        """
        return tuple(self.checking(text, paper=paper, where=where))

    def checking(
        self, text: str, *, paper: str = "", where: Filters | None = None
    ) -> Iterator[CheckedSentence]:
        """Compare a text with the papers, as `check`, each sentence as soon as it is compared."""
        if not text.strip():
            raise QuestionError("there is no text to check", hint="give a sentence or more")
        if len(text) > MOST_CHARACTERS:
            raise QuestionError(
                f"the text has {len(text):,} characters; {MOST_CHARACTERS:,} are checked at once",
                hint="check it in parts",
            )
        store = self.store
        if paper:
            known = [store.paper_named(paper)]
            return check_text(text, lambda _: known)
        return check_text(
            text,
            lambda sentence: [
                passage.paper for passage in store.search(sentence, PAPERS_COMPARED, where)
            ],
        )

    @property
    def store(self) -> Store:
        """The collection; opened when first needed."""
        with self._opening:
            if self._store is None:
                self._store = self.settings.place.open(self._models.embedder)
            return self._store

    @functools.cached_property
    def thresholds(self) -> Thresholds:
        """From which log odds on a paper is asked; may be set."""
        return kept(self.settings.index, self.settings.model)

    @property
    def examples(self) -> tuple[str, ...]:
        """Questions for the bundled collection; none are known for another."""
        _, bundled = self.store.holding(["BenchX"], 1)
        return EXAMPLES if bundled else ()

    def preload(self) -> None:
        """Start loading the model, so that the first question need not wait for it."""
        self._preloading = self._worker.submit(self._models.loading)

    def read_ahead(self) -> None:
        """Read papers while nobody asks, so that questions meet papers that are read already."""
        most = self.settings.read_ahead
        self._ahead = ReadAhead(itertools.islice(self.store.papers(), most), most)
        self._worker.while_idle(functools.partial(self._read_one, self._ahead))

    @property
    def reading_ahead(self) -> Progress | None:
        """How far `read_ahead` is; None if it was not asked for."""
        return self._ahead.progress if self._ahead else None

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
        read = 0
        with self._worker.submit(lambda: self._warming(papers)) as events:
            for read in events:
                if progress is not None:
                    progress(read)
        return read

    def _warming(self, papers: Sequence[Paper]) -> Iterator[int]:
        engine, read = self._models.open_engine(), 0
        engine.prepare()
        for paper in papers:
            if not engine.is_read(paper):
                if not engine.has_room:
                    continue
                try:
                    engine.read([paper])
                except StoppedError:
                    return
            read += 1
            yield read

    def _read_one(self, ahead: ReadAhead) -> bool:
        """Read one paper; whether there may be another."""
        engine = self._models.open_engine()
        paper = ahead.next(engine.is_read)
        if paper is None or not engine.has_room:
            return False
        engine.prepare()
        with contextlib.suppress(StoppedError):
            engine.read([paper])
        return True

    def use(self, **changes: Any) -> None:
        """Go on with other settings of the model, once the running question is answered.

        Args:
            **changes: Settings by name, such as ``model="..."`` or ``threads=2``.

        Raises:
            SettingsError: A setting is unknown or out of range.
            ModelError: The model cannot be loaded; then everything stays as it was.
        """
        check_engine(self.settings.changed(**changes))
        before = {name: getattr(self.settings, name) for name in changes}
        try:
            self._exchange(changes)
        except ModelError:
            self._exchange(before)
            raise

    def _exchange(self, changes: Mapping[str, Any]) -> None:
        for _ in self._worker.submit(lambda: self._exchanging(changes)):
            pass

    def _exchanging(self, changes: Mapping[str, Any]) -> Iterator[Event]:
        first = self._first
        with first._opening:
            for each in (first, *first._others.values()):
                each.settings = each.settings.changed(**changes)
                each.__dict__.pop("thresholds", None)  # they are the model's
        return self._models.exchanging(first.settings)

    def close(self) -> None:
        """Let go of the papers; the first one also stops what runs and frees the models."""
        if self._first is self:
            self._models.close()
            for other in self._others.values():
                other.close()
        if self._store is not None:
            self._store.close()
            self._store = None

    def _was_stopped(self) -> ModelError:
        return ModelError(
            "the question was stopped", model=self.settings.model, hint="ask it again"
        )

    async def __aenter__(self) -> Assistant:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Assistant:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # The steps

    def _retrieve(self, run: Answering, store: Store) -> Retrieved:
        most = self.settings.max_papers
        if run.shifts:
            before = {passage.paper.id for passage in store.search(run.earlier, 1, run.where)}
            found = store.search(run.question, most + 1, run.where)
            run.passages = tuple(each for each in found if each.paper.id not in before)[:most]
        else:
            run.passages = store.search(run.asked, most, run.where)
        run.retrieved_seconds = run.seconds
        return Retrieved(run.passages, run.retrieved_seconds, run.standalone)

    def _events(self, run: Answering, store: Store) -> Iterator[Event]:
        try:
            if not run.passages:
                yield self._done(run, "abstained", _NO_PAPERS if run.where is None else _NONE_MEETS)
                return
            engine = self._models.open_engine()
            engine.start_counting()
            engine.prepare()
            question, context = (run.question, run.earlier) if run.shifts else (run.asked, "")
            with engine.asking(question, context=context) as asked:
                yield from self._weigh(run, asked, engine)
                yield from self._answer(run, asked, store)
        except StoppedError:
            logger.info("stopped after %.1f s", run.seconds)

    def _weigh(self, run: Answering, asked: Asked, engine: Engine) -> Iterator[Event]:
        """Let the papers meet the question, as many of them as it takes to be sure."""
        papers = [passage.paper for passage in run.passages]
        unread = [paper.id for paper in papers if not engine.is_read(paper)]
        sizes = iter(() if asks_for_several(run.asked) else WAVES)
        while papers:
            size = max(next(sizes, len(papers)), engine.at_once)
            wave, papers = papers[:size], papers[size:]
            for paper in wave:
                if paper.id in unread:
                    yield Reading(paper, unread.index(paper.id) + 1, len(unread))
                    asked.read(paper)
            weighed = asked.weigh(wave)
            ranks = _rank(run, asked)
            if len(weighed) < len(wave) or self._settled(ranks, run):
                break
        yield Ranked(tuple(run.ranked))

    def _settled(self, ranks: Sequence[float], run: Answering) -> bool:
        """Whether it is clear which paper answers, and that it does."""
        probe = run.probed[run.ranked[0].id]
        leads = len(ranks) > 1 and ranks[0] - ranks[1] >= LEAD_SETTLES
        return probe >= PROBE_SETTLES or (leads and probe >= self.thresholds.probe_at_least)

    def _answer(self, run: Answering, asked: Asked, store: Store) -> Iterator[Event]:
        ranked = run.ranked
        wants_several = asks_for_several(run.asked)
        standing_out = _standing_out(run) if wants_several else []
        answering = standing_out[:MOST_BULLETS] or ranked[:1]
        several, asked_of = len(answering) > 1, 0
        for paper in answering:
            evidence = _evidence(paper, store)
            doubtful = not several and (
                bool(evidence.foreign_names(run.question)) or (wants_several and not standing_out)
            )
            probe = run.probed[paper.id]
            yield Probed(paper, probe, doubtful)
            lead = probe - max(
                (odds for each, odds in run.probed.items() if each != paper.id), default=probe
            )
            if not self.thresholds.let_pass(probe, doubtful=doubtful, several=several, lead=lead):
                continue
            asked_of += 1
            page = Page(evidence, run.asked, probe=probe, one_of_several=several)
            yield from self._write(run, asked, paper, page, several=several)
        if run.sentences:
            yield self._done(run, "answered", None)
            return
        reason = (
            "what the model wrote is not supported by the papers"
            if asked_of
            else "no paper that was read holds the answer"
        )
        yield self._done(run, "abstained", reason, [_evidence(paper, store) for paper in ranked])

    def _write(
        self, run: Answering, asked: Asked, paper: Paper, page: Page, *, several: bool
    ) -> Iterator[Event]:
        """Each sentence is verified as soon as it is complete."""
        if several:
            pieces = asked.write(paper, BULLET_TOKENS, self._models.prompts.bullet.template)
        else:
            pieces = asked.write(paper, ANSWER_TOKENS)
        text, judged = "", 0
        written: set[str] = set()
        for piece in pieces:
            text += unquoted(piece)
            spans = sentence_spans(text)
            for start, end in spans[judged:-1]:
                if text[start:end] in written:
                    yield from _shown(run, page.rest(), titled=several)
                    return  # the model goes round in circles
                judged += 1
                written.add(text[start:end])
                yield from _shown(run, page.consider(text[start:end]), titled=several)
            if spans[judged:]:
                run.text_was_shown()
                yield Draft(text[spans[judged][0] :])
        for start, end in sentence_spans(text)[judged:]:
            complete = ends_sentence(text[start:end])
            claims = page.consider(text[start:end], complete=complete)
            yield from _shown(run, claims, titled=several)
        yield from _shown(run, page.rest(), titled=several)

    def _listed(self, run: Answering, listing: Listing, store: Store) -> Iterator[Event]:
        """An answer about the collection itself, from its records alone; each paper is cited."""
        run.lead = listing.lead
        run.passages = tuple(
            Passage(paper, chunk_paper(paper)[0], rank, 0.0, None)
            for rank, paper in enumerate(listing.papers, start=1)
        )
        run.retrieved_seconds = run.seconds
        yield Retrieved(run.passages, run.retrieved_seconds, lead=run.lead)
        for name, papers in listing.groups:
            evidence = [_evidence(paper, store) for paper in papers]
            yield Verified(run.enlist(name, evidence, listing.topic or name))
        yield self._done(run, "answered", None)

    def _done(
        self,
        run: Answering,
        status: Status,
        reason: str | None,
        closest: Sequence[Evidence] = (),
    ) -> Done:
        tokens = Tokens()
        if self._models.engine and run.likelihoods:
            tokens = Tokens(**dataclasses.asdict(self._models.engine.counts))
        answer = run.finished(
            status, reason, model=self.settings.model, tokens=tokens, closest=closest
        )
        logger.info("%s in %.1f s, %s", status, run.seconds, answer.tokens)
        return Done(answer)


def _shown(run: Answering, claims: Iterable[Claim], *, titled: bool) -> Iterator[Event]:
    for claim in claims:
        if sentence := run.say(claim, titled=titled):
            yield Verified(sentence)


def _evidence(paper: Paper, store: Store) -> Evidence:
    return Evidence(paper, store.document_frequency, len(store))


def _leaned_on(question: str, history: Sequence[str]) -> str:
    """The earlier questions without which this one cannot be understood, oldest first."""
    leaned_on: list[str] = []
    for earlier in reversed(history):
        if not refers_back(leaned_on[0] if leaned_on else question):
            break
        leaned_on.insert(0, earlier)
    return " ".join(leaned_on)


def _rank(run: Answering, asked: Asked) -> list[float]:
    """Papers by how well they explain the question; retrieval and probe decide near ties.

    Returns:
        What they are ranked by, in nats, best first.
    """
    rank = {
        each: nats + RETRIEVAL_WEIGHT * run.scores[each] + PROBE_WEIGHT * asked.probes[each]
        for each, nats in asked.likelihoods.items()
    }
    order = sorted(rank, key=rank.__getitem__, reverse=True)
    run.likelihoods = {each: asked.likelihoods[each] for each in order}
    run.probed = {each: asked.probes[each] for each in order}
    return [rank[each] for each in order]


def _standing_out(run: Answering) -> list[Paper]:
    """Those of the ranked papers that have far more to do with the question than papers usually."""
    usual = statistics.median(run.likelihoods.values())
    unsure = statistics.median(run.probed.values())

    def lead(paper_id: str) -> float:
        return (
            run.likelihoods[paper_id]
            - usual
            + SEVERAL_RETRIEVAL_WEIGHT * run.scores[paper_id]
            + SEVERAL_PROBE_WEIGHT * (run.probed[paper_id] - unsure)
        )

    return [paper for paper in run.ranked if lead(paper.id) >= STANDS_OUT]
