"""What the page knows of one question: the events of its stream, folded into one value.

Pure: knows nothing of Gradio, HTML, threads or models. Time comes in as seconds since the question
was asked, so that a test can say what the clock shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from assistant.types import (
    Answer,
    Done,
    Draft,
    Event,
    Probed,
    Queued,
    Ranked,
    Reading,
    Retrieved,
    Sentence,
    Verified,
)
from vectorstore import Paper, Passage

Activity = Literal["waiting", "searching", "reading", "probing", "writing"]
"""What is going on between two events, in the order in which it usually comes."""

Outcome = Literal["running", "done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One question of a conversation and everything that is known of its answer so far."""

    number: int
    """From 1, within the conversation."""
    question: str
    collection_papers: int
    """Papers in the collection when the question was asked."""
    chosen_papers: int = 0
    """Of these, the only ones that were asked; 0 where all were."""
    outcome: Outcome = "running"
    activity: Activity = "searching"
    ahead: int = 0
    """Questions of others that are served first."""
    passages: tuple[Passage, ...] = ()
    standalone_question: str | None = None
    reading: Reading | None = None
    """The paper that was read last."""
    ranked: tuple[str, ...] = ()
    """Ids of the papers that were read, by how well they explain the question."""
    probes: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Log odds by paper id."""
    draft: str = ""
    sentences: tuple[Sentence, ...] = ()
    answer: Answer | None = None
    message: str = ""
    """What went wrong, where the outcome is ``failed``."""
    hint: str = ""
    seconds: Mapping[Activity, float] = field(default_factory=lambda: MappingProxyType({}))
    """Seconds spent so far on each activity, the running one up to the last event."""
    last_event_seconds: float = 0.0
    elapsed_seconds: float = 0.0

    @property
    def running_seconds(self) -> float:
        """Seconds spent on the running activity, up to now."""
        waited = self.elapsed_seconds - self.last_event_seconds
        return self.seconds.get(self.activity, 0.0) + waited

    @property
    def abstained(self) -> bool:
        """The assistant declined: no paper holds the answer."""
        return self.answer is not None and self.answer.status == "abstained"

    @property
    def draft_dropped(self) -> bool:
        """The last sentence that was drafted could not be verified."""
        return self.answer is not None and bool(self.draft)

    @property
    def papers(self) -> tuple[Paper, ...]:
        """Every paper that has to do with this question, each once.

        While it runs in the order of the search; at its end the likeliest to hold the answer come
        first, and what nobody read comes last.
        """
        found = {passage.paper.id: passage.paper for passage in self.passages}
        read = self.answer.passages if self.answer else ()
        return tuple(({passage.paper.id: passage.paper for passage in read} | found).values())


def advance(turn: Turn, event: Event, *, elapsed_seconds: float) -> Turn:
    """Return the turn as it is after ``event``, which came at ``elapsed_seconds``."""
    turn = replace(
        turn,
        seconds=_credit(turn, event, elapsed_seconds),
        last_event_seconds=elapsed_seconds,
        elapsed_seconds=elapsed_seconds,
    )
    match event:
        case Queued(ahead=ahead):
            return replace(turn, activity="waiting", ahead=ahead)
        case Retrieved(passages=passages, standalone_question=standalone):
            return replace(
                turn, activity="probing", passages=passages, standalone_question=standalone
            )
        case Reading():
            return replace(turn, activity="reading", reading=event)
        case Ranked(papers=papers):
            return replace(turn, activity="probing", ranked=tuple(paper.id for paper in papers))
        case Probed(paper=paper, score=score):
            probes = MappingProxyType({**turn.probes, paper.id: score})
            return replace(turn, activity="writing", probes=probes)
        case Draft(text=text):
            return replace(turn, activity="writing", draft=text)
        case Verified(sentence=sentence):
            sentences = (*turn.sentences, sentence)
            return replace(turn, activity="writing", draft="", sentences=sentences)
        case Done(answer=answer):
            return _finish(turn, answer)


def tick(turn: Turn, *, elapsed_seconds: float) -> Turn:
    """Return the turn with a newer clock and no other news."""
    return replace(turn, elapsed_seconds=elapsed_seconds)


def stopped(turn: Turn, *, elapsed_seconds: float) -> Turn:
    """Return the turn as the user stopped it. A draft is not kept: nobody has checked it."""
    return replace(turn, outcome="stopped", draft="", elapsed_seconds=elapsed_seconds)


def failed(turn: Turn, message: str, *, hint: str, elapsed_seconds: float) -> Turn:
    """Return the turn as it ended in an error."""
    return replace(
        turn,
        outcome="failed",
        draft="",
        message=message,
        hint=hint,
        elapsed_seconds=elapsed_seconds,
    )


def _finish(turn: Turn, answer: Answer) -> Turn:
    # The answer is the authority: what it lacks was not verified, whatever was streamed before.
    if answer.status == "error":
        return failed(
            turn,
            answer.text or answer.reason or "The question could not be answered.",
            hint=str(answer.extra.get("hint", "assistant doctor")),
            elapsed_seconds=turn.elapsed_seconds,
        )
    return replace(
        turn,
        outcome="done",
        answer=answer,
        sentences=answer.sentences,
        standalone_question=answer.standalone_question or turn.standalone_question,
    )


def _credit(turn: Turn, event: Event, elapsed_seconds: float) -> Mapping[Activity, float]:
    """Give the time since the last event to what was going on."""
    spent = max(0.0, elapsed_seconds - turn.last_event_seconds)
    seconds = dict(turn.seconds)
    if isinstance(event, Retrieved):
        # The search clocks itself; what is left was spent waiting for others.
        seconds["searching"] = event.seconds
        if turn.activity == "waiting":
            seconds["waiting"] = seconds.get("waiting", 0.0) + max(0.0, spent - event.seconds)
        return MappingProxyType(seconds)
    activity = _activity_before(turn, event)
    seconds[activity] = seconds.get(activity, 0.0) + spent
    return MappingProxyType(seconds)


def _activity_before(turn: Turn, event: Event) -> Activity:
    if turn.activity in ("waiting", "reading"):
        return turn.activity
    match event:
        case Ranked() | Probed() | Reading():
            return "probing"
        case Draft() | Verified() | Done():
            return "writing"
        case _:
            return turn.activity
