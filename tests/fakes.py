"""Small real stand-ins for the large parts, shared by the tests."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from assistant.checking.texts import check_text
from assistant.errors import ModelMissingError, QuestionError
from assistant.llm.ahead import Progress
from assistant.settings import Settings, load_settings
from assistant.types import (
    Answer,
    CheckedSentence,
    Citation,
    Closest,
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
    Timings,
    Tokens,
    Verified,
)
from vectorstore import Chunk, Paper, Passage
from vectorstore.errors import CollectionError, PaperNotFoundError
from vectorstore.filters import Filters

PAPERS = (
    Paper(
        id="larch",
        title="Larch: Reading Every Page Once for Question Answering on Small Machines",
        abstract=(
            "Answering questions over a collection of papers is slow on machines without an "
            "accelerator, because every question makes the model read the same pages again. We "
            "present Larch, which reads each page once and keeps the state of the attention "
            "layers. On a laptop with two cores, Larch answers in 5.7 seconds instead of 38, "
            "with the same tokens in 99.4% of 1,200 answers. States take 9 MB per page and are "
            "dropped when they have not been used for a month. We discuss when a state must not "
            "be reused, and release code and data."
        ),
        authors=("Ida Moreau", "Tomas Lindqvist", "Chidi Okafor"),
        year=2024,
        venue="Workshop on Efficient Reading",
        url="https://example.org/larch",
        code_url="https://example.org/larch/code",
    ),
    Paper(
        id="finch",
        title="Finch: How Often Does a Cited Passage Support Its Sentence?",
        abstract=(
            "Systems that cite their sources inspire trust, yet nobody checks the citations. We "
            "collect 4,100 sentences from six systems and ask three readers whether the cited "
            "passage supports the sentence. It does in 71% of the cases; in 17% the passage is "
            "about something else. Numbers are the most frequent error. A check that compares "
            "numbers and names alone removes two thirds of the unsupported sentences."
        ),
        authors=(
            "Wen Zhao",
            "Amina Diallo",
            "P. R. Castellanos",
            "J. Holm",
            "R. Iyer",
            "S. Ek",
            "Lucie Bernard",
        ),
        year=2023,
        venue="Transactions on Grounded Text",
        url="https://example.org/finch",
    ),
    Paper(
        id="alder",
        title="Alder: Calibrated Abstention for Retrieval Systems",
        abstract=(
            "A system that always answers is wrong whenever its collection holds no answer. We "
            "study when to decline. The score of the retrieval says little; a single yes or no "
            "of the model about each passage says more (AUC 0.94 on 2,300 questions)."
        ),
        authors=("Noor van Dijk",),
        year=2022,
    ),
    Paper(
        id="heron",
        title="Heron: Tensor Kernels for Wetland Birds in Radar Images",
        abstract=(
            "Flocks show in weather radar. We segment them with a network of 1.2M parameters "
            r"and reach an $F_1$ of 0.88, where $\sigma = 0.3$ and costs are below \$5 a season."
        ),
        authors=("Kofi Mensah", "Elsa Brandt"),
        year=2025,
        video_url="https://example.org/heron/talk",
    ),
)

HOSTILE = Paper(
    id='"><img src=x onerror=boom()>',
    title='<img src=x onerror="window.executed=1"> & <script>window.executed=1</script>',
    abstract=(
        "</p></article><script>window.executed=1</script> ${window.executed=1} {{value}} "
        "<svg onload=window.executed=1> The number is 42. </textarea>"
        '<a href="javascript:window.executed=1">here</a>'
    ),
    authors=("<b onclick=window.executed=1>Bobby</b>", '" onmouseover="window.executed=1'),
    year=1999,
    venue="<style>body{display:none}</style>",
    url="javascript:window.executed=1",
    code_url='https://example.org/" onfocus="window.executed=1" autofocus="',
    video_url="data:text/html,<script>window.executed=1</script>",
)


def passage(paper: Paper, rank: int = 1, *, similarity: float = 0.5) -> Passage:
    """A passage whose chunk is the whole abstract."""
    chunk = Chunk(f"{paper.id}:0", paper.id, 0, 0, len(paper.abstract), paper.abstract)
    return Passage(paper, chunk, rank, score=1.0 / rank, similarity=similarity)


def citation(number: int, paper: Paper, quote: str) -> Citation:
    """A citation of the first place where ``quote`` stands in the abstract."""
    start = paper.abstract.index(quote)
    return Citation(
        number, paper.id, paper.title, f"{paper.id}:0", start, start + len(quote), quote
    )


def answer(
    question: str,
    sentences: Sequence[Sentence],
    papers: Sequence[Paper],
    *,
    standalone_question: str | None = None,
    text: str | None = None,
    reason: str | None = None,
    closest: tuple[Closest, ...] = (),
) -> Answer:
    """An answer made of sentences; without any, an abstention."""
    return Answer(
        question=question,
        text=text if text is not None else " ".join(s.text for s in sentences),
        status="answered" if sentences else "abstained",
        reason=reason,
        sentences=tuple(sentences),
        citations=tuple(c for s in sentences for c in s.citations),
        passages=tuple(ShownPassage(p, f"{p.id}:0", 0.5, -20.0, 1.0) for p in papers),
        timings=Timings(0.1, 1.0 if sentences else None, 2.0),
        tokens=Tokens(1000, 80, 40),
        model="scripted",
        standalone_question=standalone_question,
        closest=closest,
    )


def drafts(text: str) -> list[Event]:
    """The sentence as it is being written, word by word."""
    words = text.split(" ")
    return [Draft(" ".join(words[:count])) for count in range(1, len(words) + 1)]


def answered_story(question: str = "How fast is it?") -> list[Event]:
    """Two papers read anew, four probed, two sentences from two papers, one a quotation."""
    first = Sentence(
        "On a laptop with two cores, Larch answers in 5.7 seconds instead of 38. [1]",
        (
            citation(
                1,
                PAPERS[0],
                "On a laptop with two cores, Larch answers in 5.7 seconds instead of 38",
            ),
        ),
        support=0.97,
    )
    second = Sentence(
        "Numbers are the most frequent error. [2]",
        (citation(2, PAPERS[1], "Numbers are the most frequent error."),),
        support=1.0,
        verbatim=True,
    )
    return [
        Retrieved(tuple(passage(p, i) for i, p in enumerate(PAPERS, 1)), 0.1),
        Reading(PAPERS[1], 1, 2),
        Reading(PAPERS[2], 2, 2),
        Ranked(PAPERS),
        *(Probed(p, s) for p, s in zip(PAPERS, (2.4, 1.1, -0.3, -2.0), strict=True)),
        *drafts("On a laptop with two cores, Larch answers in 5.7 seconds instead of 38."),
        Verified(first),
        *drafts("Citations are mostly wrong about their numbers."),
        Verified(second),
        Done(answer(question, [first, second], PAPERS)),
    ]


def followed_up_story(question: str = "And how large are they?") -> list[Event]:
    """A follow-up that had to be rewritten."""
    standalone = "How large are the states that Larch keeps?"
    sentence = Sentence(
        "States take 9 MB per page. [1]",
        (citation(1, PAPERS[0], "States take 9 MB per page"),),
        support=1.0,
    )
    return [
        Retrieved((passage(PAPERS[0]), passage(PAPERS[2], 2)), 0.05, standalone),
        Probed(PAPERS[0], 2.0),
        Probed(PAPERS[2], -1.0),
        *drafts("States take 9 MB per page."),
        Verified(sentence),
        Done(answer(question, [sentence], PAPERS[:1], standalone_question=standalone)),
    ]


def abstained_story(question: str = "What do swans eat?") -> list[Event]:
    """Papers were found and probed, none holds the answer."""
    quote = PAPERS[3].abstract[:30]
    text = f"The papers do not say: no paper holds it. The closest: {PAPERS[3].title}: “{quote}”"
    return [
        Queued(1),
        Retrieved((passage(PAPERS[3]), passage(PAPERS[2], 2)), 0.1),
        Probed(PAPERS[3], -1.0),
        Probed(PAPERS[2], -2.0),
        Done(
            answer(
                question,
                [],
                (PAPERS[3], PAPERS[2]),
                text=text,
                reason="no paper that was read holds it",
                closest=tuple(
                    Closest(paper.id, paper.title, 0, 30, paper.abstract[:30])
                    for paper in (PAPERS[3], PAPERS[2])
                ),
            )
        ),
    ]


def hostile_story(question: str = "What is the number?") -> list[Event]:
    """A record that tries to be markup, and a model that does."""
    sentence = Sentence(
        'The number is 42. <img src=x onerror="window.executed=1"> [1]',
        (citation(1, HOSTILE, "The number is 42."),),
        support=1.0,
    )
    return [
        Retrieved((passage(HOSTILE), passage(PAPERS[0], 2)), 0.1, "<i>rewritten</i>"),
        Probed(HOSTILE, 3.0),
        Draft("<script>window.executed=1</script>"),
        Verified(sentence),
        Done(answer(question, [sentence], (HOSTILE,))),
    ]


def endless_story() -> list[Event]:
    """A model that never stops by itself."""
    words = drafts(" ".join(f"word{count}" for count in range(2_000)))
    return [Retrieved((passage(PAPERS[0]),), 0.1), Probed(PAPERS[0], 2.0), *words]


def failing_story() -> list[Event | Exception]:
    """The model file has gone."""
    error = ModelMissingError(
        "The model qwen2.5 is not on this machine.",
        model="qwen2.5",
        hint="assistant models pull qwen2.5",
    )
    return [Retrieved((passage(PAPERS[0]),), 0.1), error]


@dataclass
class ScriptedAssistant:
    """An assistant that plays the story whose key occurs in the question, at a given pace.

    An exception in a story is raised when its turn comes. ``asked`` and ``closed`` say which
    questions came, with their history and filters, and which streams ended before their story.
    """

    stories: Mapping[str, Sequence[Event | Exception]]
    examples: tuple[str, ...] = ()
    pause_seconds: float = 0.0
    papers: int = 68
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    filters: list[Filters | None] = field(default_factory=list)
    used: list[dict[str, object]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    went_on: threading.Event = field(default_factory=threading.Event)

    @property
    def settings(self) -> Settings:
        """Whatever is set where the tests run, but nothing is kept."""
        return load_settings(keep_conversations=False)

    def of(self, collection: str) -> Self:
        """This one; another collection is not there."""
        if collection not in ("", self.settings.place_name):
            raise CollectionError(
                f'there is no collection "{collection}"', name=collection, hint="another one"
            )
        return self

    @property
    def store(self) -> ScriptedStore:
        """A collection of a given size, of which only four papers can be seen."""
        return ScriptedStore(self.papers)

    def search(
        self, query: str, top_k: int = 8, where: Filters | None = None
    ) -> tuple[Passage, ...]:
        """Papers that share a word with the query."""
        self.filters.append(where)
        words = set(query.casefold().split())
        found = [each for each in PAPERS if words & set(each.abstract.casefold().split())]
        return tuple(passage(each, rank) for rank, each in enumerate(found[:top_k], start=1))

    def check(
        self, text: str, *, paper: str = "", where: Filters | None = None
    ) -> tuple[CheckedSentence, ...]:
        """Compare a text with the scripted papers, by the real check."""
        self.filters.append(where)
        named = [each for each in PAPERS if not paper or paper in (each.id, each.title)]
        return tuple(check_text(text, lambda _: named))

    def preload(self) -> None:
        """There is no model to load."""

    def read_ahead(self) -> None:
        """There is no model to read."""

    @property
    def reading_ahead(self) -> Progress:
        """As if some papers were read."""
        return Progress(min(38, self.papers), self.papers)

    def use(self, **changes: object) -> None:
        """Remember what was changed."""
        self.used.append(changes)

    def ask(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> Answer:
        """Play a story to its end."""
        *_, last = self.stream(question, history=history, where=where)
        assert isinstance(last, Done)
        return last.answer

    def stream(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> ScriptedStream:
        """Play a story."""
        self.filters.append(where)
        self.asked.append((question, tuple(history)))
        story = next(story for key, story in self.stories.items() if key in question)
        return ScriptedStream(story, self.pause_seconds, lambda: self._note_closed(question))

    def _note_closed(self, question: str) -> None:
        self.closed.append(question)
        self.went_on.set()


@dataclass(frozen=True)
class ScriptedStore:
    """As much of a store as a server needs."""

    size: int

    def __len__(self) -> int:
        return self.size

    def papers(self) -> Iterator[Paper]:
        """Those that can be seen."""
        return iter(PAPERS)

    def paper(self, paper_id: str) -> Paper:
        """One of them."""
        for each in PAPERS:
            if each.id == paper_id:
                return each
        raise PaperNotFoundError(
            f"no paper {paper_id!r}", paper_id=paper_id, hint="assistant papers list"
        )


class ScriptedStream(Iterator[Event]):
    """A story being played; like the real stream, it may be closed from whatever thread."""

    def __init__(
        self,
        story: Sequence[Event | Exception],
        pause_seconds: float,
        on_early_close: Callable[[], None],
    ) -> None:
        self._story = iter(story)
        self._pause_seconds = pause_seconds
        self._on_early_close = on_early_close
        self._over = threading.Event()

    def __next__(self) -> Event:
        if self._over.wait(self._pause_seconds):
            raise StopIteration
        step = next(self._story, None)
        if step is None or isinstance(step, Exception):
            self._over.set()
            raise step or StopIteration
        return step

    def close(self) -> None:
        """End the story here."""
        if not self._over.is_set():
            self._over.set()
            self._on_early_close()

    def __enter__(self) -> ScriptedStream:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def default_stories() -> dict[str, Sequence[Event | Exception]]:
    """Every story, by a word of its question; any other question is answered."""
    return {
        "swans": abstained_story(),
        "number": hostile_story(),
        "endless": endless_story(),
        "broken": failing_story(),
        "crash": [RuntimeError("secret internals")],
        "large": followed_up_story(),
        "": answered_story(),
    }


@dataclass
class EchoAssistant:
    """Answers in words of the question, so that an answer in the wrong row is seen.

    A question with "unknown" is abstained from, one with "refused" or "crash" raises. What was
    asked is also written to ``log``, where a test that kills the process can read it.
    """

    log: Path | None = None
    pause_seconds: float = 0.0
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    filters: list[Filters | None] = field(default_factory=list)

    def ask(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> Answer:
        """Answer at once."""
        self.filters.append(where)
        time.sleep(self.pause_seconds)
        self.asked.append((question, tuple(history)))
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(question) + "\n")
        if "refused" in question:
            raise QuestionError(f"cannot be asked: {question}", hint="ask something else")
        if "crash" in question:
            raise RuntimeError(f"broken by {question}")
        if "unknown" in question:
            return answer(question, [], PAPERS[:2], text="Not there.", reason="unsupported")
        quote = PAPERS[0].abstract[:40]
        text = f"{' < '.join([*history, question])} [1]"
        sentence = Sentence(text, (citation(1, PAPERS[0], quote),), support=1.0)
        return answer(question, [sentence], PAPERS[:1])


@dataclass
class HashEmbedder:
    """Vectors from the words of a text: texts that share words are close. No weights, no state.

    ``texts`` counts what was embedded, so that a test can tell that nothing was.
    """

    name: str = "hash"
    dimension: int = 64
    texts: int = 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the scaled sum of one random direction per word, and one for all."""
        self.texts += len(texts)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in ["", *re.findall(r"\w+", text.lower())]:
                seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
                vectors[row] += np.random.default_rng(seed).standard_normal(
                    self.dimension, dtype=np.float32
                )
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / norms, dtype=np.float32)
