"""Promises of the page's machinery: runs, conversations, ports. No browser here."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from assistant.errors import QuestionError
from assistant.streaming.runs import Run, Runs, answer_turns
from assistant.streaming.turn import Turn
from assistant.types import Event
from assistant.ui.tab_chat import Conversation, _Frame, _Handlers
from tests.fakes import ScriptedAssistant, answered_story, default_stories, endless_story

PATIENCE_SECONDS = 30.0
"""How long a test waits for what must happen before it calls it missing."""


@pytest.fixture
def assistant() -> ScriptedAssistant:
    return ScriptedAssistant(default_stories())


def turns_of(run: Run) -> Iterator[Turn]:
    return answer_turns(run, Turn(1, "?", collection_papers=68))


def test_a_run_ends_with_the_answer_and_nothing_is_lost(assistant: ScriptedAssistant) -> None:
    run = Run(lambda: assistant.stream("How fast is it?"))
    *_, last = turns_of(run)
    assert last.outcome == "done"
    assert len(last.probes) == 4
    assert len(last.sentences) == 2
    assert assistant.closed == []


def test_a_stopped_run_closes_the_stream_and_says_so(assistant: ScriptedAssistant) -> None:
    assistant.pause_seconds = 0.01
    run = Run(lambda: assistant.stream("endless"))
    turns = turns_of(run)
    while not next(turns).draft:
        pass
    run.stop()
    *_, last = turns
    assert last.outcome == "stopped"
    assert assistant.went_on.wait(PATIENCE_SECONDS)
    assert assistant.closed == ["endless"]
    assert run.ended.wait(PATIENCE_SECONDS)


class SilentStream(Iterator[Event]):
    """A stream that says nothing until it is let go, closed or not."""

    def __init__(self) -> None:
        self.closes = 0
        self.let_go = threading.Event()

    def __next__(self) -> Event:
        self.let_go.wait(PATIENCE_SECONDS)
        raise StopIteration

    def close(self) -> None:
        self.closes += 1


def test_stop_is_seen_while_the_model_is_silent() -> None:
    stream = SilentStream()
    run = Run(lambda: stream)
    turns = turns_of(run)
    run.stop()
    *_, last = turns
    assert last.outcome == "stopped"
    assert not run.ended.is_set()
    stream.let_go.set()
    assert run.ended.wait(PATIENCE_SECONDS)
    assert stream.closes > 0


def test_a_stream_that_opens_after_the_stop_is_closed_unread() -> None:
    stream = SilentStream()
    may_open = threading.Event()

    def open_late() -> SilentStream:
        may_open.wait(PATIENCE_SECONDS)
        return stream

    run = Run(open_late)
    run.stop()
    may_open.set()
    assert run.ended.wait(PATIENCE_SECONDS)
    assert not stream.let_go.is_set()
    assert stream.closes > 0


@pytest.mark.parametrize(
    ("question", "message", "hint"),
    [
        ("broken", "The model qwen2.5 is not on this machine.", "assistant models pull qwen2.5"),
        ("crash", "Something went wrong inside the assistant", "assistant doctor"),
    ],
)
def test_an_error_becomes_the_outcome(
    assistant: ScriptedAssistant, question: str, message: str, hint: str
) -> None:
    *_, last = turns_of(Run(lambda: assistant.stream(question)))
    assert last.outcome == "failed"
    assert last.message.startswith(message)
    assert last.hint == hint
    assert "secret" not in last.message


def test_an_error_before_the_first_event_is_an_outcome_too() -> None:
    def refuse() -> SilentStream:
        raise QuestionError("Too long.", hint="ask in fewer words")

    *_, last = turns_of(Run(refuse))
    assert (last.outcome, last.message) == ("failed", "Too long.")


def last_conversation(frames: list[_Frame]) -> Conversation:
    found = [frame.conversation for frame in frames if frame.conversation is not None]
    assert len(found) == 1
    assert found[0] is frames[-1].conversation
    return found[0]


def test_earlier_questions_go_along_as_history(assistant: ScriptedAssistant) -> None:
    handlers = _Handlers(assistant)
    conversation = Conversation()
    for question in ("How fast is it?", "broken", "And how large are they?"):
        conversation = last_conversation(list(handlers.ask(question, conversation, "me")))
    assert [history for _, history in assistant.asked] == [
        (),
        ("How fast is it?",),
        ("How fast is it?",),
    ]


@pytest.mark.parametrize("question", ["", "  \n\t "])
def test_an_empty_question_changes_nothing(assistant: ScriptedAssistant, question: str) -> None:
    assert list(_Handlers(assistant).ask(question, Conversation(), "me")) == []
    assert assistant.asked == []


def test_only_news_is_sent(assistant: ScriptedAssistant) -> None:
    frames = list(_Handlers(assistant).ask("How fast is it?", Conversation(), "me"))
    for part in ("past", "box"):
        assert [getattr(frame, part) for frame in frames[1:]] == [None] * (len(frames) - 1)
    assert frames[0].box == ""


def test_finished_turns_are_kept_in_order(assistant: ScriptedAssistant) -> None:
    handlers = _Handlers(assistant)
    conversation = last_conversation(list(handlers.ask("alpha?", Conversation(), "me")))
    frames = list(handlers.ask("omega?", conversation, "me"))
    past = frames[0].past or ""
    assert "alpha?" in past
    assert "omega?" not in past
    assert [turn.question for turn in last_conversation(frames).turns] == ["alpha?", "omega?"]


def test_leaving_the_page_stops_the_model(assistant: ScriptedAssistant) -> None:
    assistant.pause_seconds = 0.01
    frames = _Handlers(assistant).ask("endless", Conversation(), "me")
    next(frames)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert assistant.went_on.wait(PATIENCE_SECONDS)


def test_a_new_conversation_shows_nothing_of_the_old_run(assistant: ScriptedAssistant) -> None:
    assistant.pause_seconds = 0.01
    handlers = _Handlers(assistant)
    frames = handlers.ask("endless", Conversation(), "me")
    next(frames)
    fresh: list[_Frame] = []
    afresh = threading.Thread(target=lambda: fresh.append(handlers.start_afresh("me")))
    afresh.start()
    for frame in frames:
        assert frame == _Frame() or not fresh, "a frame of the old run after the new page"
        last = frame
    afresh.join(PATIENCE_SECONDS)
    assert last == _Frame()
    assert fresh[0].conversation == Conversation()
    assert assistant.went_on.wait(PATIENCE_SECONDS)


def test_one_visitor_stops_only_their_own_question() -> None:
    stories = {"mine": endless_story(), "yours": answered_story()}
    assistant = ScriptedAssistant(stories, pause_seconds=0.01)
    handlers = _Handlers(assistant)
    mine = handlers.ask("mine", Conversation(), "me")
    yours = handlers.ask("yours", Conversation(), "you")
    next(mine)
    next(yours)
    handlers.stop("me")
    assert "stopped" in (list(mine)[-1].current or "")
    assert 'data-state="done"' in (list(yours)[-1].current or "")
    assert assistant.closed == ["mine"]


def test_a_second_question_of_one_visitor_stops_the_first(assistant: ScriptedAssistant) -> None:
    assistant.pause_seconds = 0.01
    runs = Runs()
    first = Run(lambda: assistant.stream("endless"))
    second = Run(lambda: assistant.stream("endless"))
    runs.start("me", first)
    runs.start("me", second)
    assert [run.was_stopped for run in (first, second)] == [True, False]
    runs.finish("me", first)
    runs.stop("me")
    assert [run.was_stopped for run in (first, second)] == [True, True]
    for run in (first, second):
        assert run.ended.wait(PATIENCE_SECONDS)
