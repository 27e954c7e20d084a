"""The chat tab: one question at a time per visitor, its stream shown as it comes.

What is shown is written by ``page``; Gradio carries it, and brings the ask box and the buttons.
Knows nothing of retrieval, prompts or models.
"""

# No `from __future__ import annotations`: Gradio finds the request parameter of a handler by its
# annotation, which must therefore be the class itself.

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from assistant import page
from assistant.ahead import Progress
from assistant.runs import EventSource, Run, Runs, answer_turns
from assistant.turn import Turn

if TYPE_CHECKING:
    import gradio as gr

AHEAD_SECONDS = 2.0
"""Between two looks at how many papers were read ahead."""


class StreamingAssistant(Protocol):
    """What the page needs of an assistant."""

    @property
    def store(self) -> Sized:
        """The collection; its length is the number of papers."""

    @property
    def examples(self) -> tuple[str, ...]:
        """Questions that this collection can answer."""

    @property
    def reading_ahead(self) -> Progress | None:
        """How many papers are read before anybody asks."""

    def stream(self, question: str, *, history: Sequence[str] = ()) -> EventSource:
        """Answer a question."""


@dataclass(frozen=True, slots=True)
class PastTurn:
    """A finished turn as it is kept: what was asked, and how it looks."""

    question: str
    html: str
    sources: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """The finished turns of one visitor, oldest first."""

    turns: tuple[PastTurn, ...] = ()

    @property
    def history(self) -> tuple[str, ...]:
        """Earlier questions, for a follow-up to lean on."""
        return tuple(turn.question for turn in self.turns if not turn.failed)


def build(blocks: "gr.Blocks", assistant: StreamingAssistant) -> None:
    """Lay out the tab and wire its events."""
    parts = _lay_out(assistant.examples, len(assistant.store))
    _wire(blocks, parts, _Handlers(assistant))


@dataclass(frozen=True, slots=True)
class _Parts:
    """The components that events read and write."""

    past: "gr.HTML"
    current: "gr.HTML"
    past_sources: "gr.HTML"
    sources: "gr.HTML"
    announcer: "gr.HTML"
    conversation: "gr.State"
    box: "gr.Textbox"
    ask: "gr.Button"
    stop: "gr.Button"
    fresh: "gr.Button"
    examples: "tuple[gr.Button, ...]"
    ahead: "gr.HTML"

    @property
    def outputs(self) -> "list[gr.components.Component]":
        """In the order of ``_Frame.values``."""
        return [
            self.past,
            self.current,
            self.past_sources,
            self.sources,
            self.announcer,
            self.conversation,
            self.box,
        ]


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the page is to show now; None leaves a part as it is."""

    past: str | None = None
    current: str | None = None
    past_sources: str | None = None
    sources: str | None = None
    announcement: str | None = None
    conversation: Conversation | None = None
    box: str | None = None

    def values(self) -> list[Any]:
        """For Gradio, in the order of ``_Parts.outputs``."""
        import gradio as gr

        announced = None if self.announcement is None else page.live(self.announcement)
        parts = (
            self.past,
            self.current,
            self.past_sources,
            self.sources,
            announced,
            self.conversation,
            self.box,
        )
        return [gr.skip() if part is None else part for part in parts]

    def since(self, earlier: "_Frame") -> "_Frame":
        """Leave out what ``earlier`` already showed, so that only news is sent."""
        return _Frame(
            *(
                None if new == old else new
                for new, old in zip(_fields(self), _fields(earlier), strict=True)
            )
        )


def _fields(frame: _Frame) -> tuple[Any, ...]:
    return tuple(getattr(frame, name) for name in _Frame.__slots__)


@dataclass(slots=True)
class _Handlers:
    """What happens on the events of the page; no Gradio in here but the frames' values."""

    assistant: StreamingAssistant
    runs: Runs = field(default_factory=Runs)

    def ask(self, question: str, conversation: Conversation, session: str) -> Iterator[_Frame]:
        """Answer a question; an empty one changes nothing."""
        question = question.strip()
        if not question:
            return
        run = Run(lambda: self.assistant.stream(question, history=conversation.history))
        self.runs.start(session, run)
        # Gradio closes this generator when the visitor leaves; then the model must stop, too.
        try:
            yield from self._frames(run, question, conversation)
        finally:
            self.runs.finish(session, run)

    def _frames(self, run: Run, question: str, conversation: Conversation) -> Iterator[_Frame]:
        number = len(conversation.turns) + 1
        asked = Turn(number, question, collection_papers=len(self.assistant.store))
        past = _Frame(
            past="".join(turn.html for turn in conversation.turns),
            past_sources="".join(turn.sources for turn in conversation.turns),
            box="",
        )
        shown = _drawn(past, asked)
        yield shown
        for turn in answer_turns(run, asked):
            if run.discarded.is_set():
                # Gradio repeats the last frame when a generator ends: it must be an empty one.
                run.released.set()
                yield _Frame()
                return
            frame = _drawn(past, turn)
            if turn.outcome != "running":
                frame = replace(frame, conversation=_with(conversation, turn))
            news = frame.since(shown)
            shown = frame
            if any(part is not None for part in _fields(news)):
                yield news

    def stop(self, session: str) -> None:
        """Stop the visitor's question."""
        self.runs.stop(session)

    def start_afresh(self, session: str) -> _Frame:
        """Forget the conversation."""
        self.runs.discard(session)
        return _Frame(
            past="",
            current=page.welcome(len(self.assistant.store)),
            past_sources="",
            sources=page.no_sources(),
            announcement="New conversation.",
            conversation=Conversation(),
            box="",
        )


def _drawn(frame: _Frame, turn: Turn) -> _Frame:
    return replace(
        frame,
        current=page.turn(turn),
        sources=page.sources(turn),
        announcement=page.announcement(turn),
    )


def _with(conversation: Conversation, turn: Turn) -> Conversation:
    past = PastTurn(
        question=turn.question,
        html=page.turn(turn),
        sources=page.sources(turn, hidden=True),
        failed=turn.outcome == "failed",
    )
    return Conversation((*conversation.turns, past))


def _lay_out(examples: Sequence[str], papers: int) -> _Parts:
    import gradio as gr

    def block(value: str, name: str) -> gr.HTML:
        return gr.HTML(value, elem_id=name, apply_default_css=False, js_on_load=None)

    with gr.Row(elem_id="columns"):
        with gr.Column(elem_id="talk", scale=3, min_width=0):
            with gr.Column(elem_id="turns"):
                past = block("", "past")
                current = block(page.welcome(papers), "current")
                with gr.Column(elem_id="examples"):
                    buttons = tuple(
                        gr.Button(example, elem_classes="example", size="sm")
                        for example in (examples if papers else ())
                    )
            with gr.Column(elem_id="dock"):
                with gr.Row(elem_id="ask-row"):
                    box = gr.Textbox(
                        label="Your question",
                        show_label=False,
                        placeholder="Ask about these papers",
                        lines=1,
                        max_lines=6,
                        elem_id="question",
                        container=False,
                        autofocus=True,
                        scale=1,
                    )
                    ask = gr.Button("Ask", elem_id="ask", variant="primary", scale=0)
                    stop = gr.Button("Stop", elem_id="stop", variant="stop", scale=0)
                with gr.Row(elem_id="dock-foot"):
                    block(page.keys(), "keys")
                    ahead = block("", "ahead")
                    fresh = gr.Button("New conversation", elem_id="fresh", size="sm", scale=0)
        with gr.Column(elem_id="sources-panel", scale=2):
            past_sources = block("", "past-sources")
            sources = block(page.no_sources(), "sources-now")
    announcer = block(page.live(""), "announcer")
    conversation = gr.State(Conversation())
    return _Parts(
        past,
        current,
        past_sources,
        sources,
        announcer,
        conversation,
        box,
        ask,
        stop,
        fresh,
        buttons,
        ahead,
    )


def _wire(blocks: "gr.Blocks", parts: _Parts, handlers: _Handlers) -> None:
    import gradio as gr

    def ask(question: str, conversation: Conversation, request: gr.Request) -> Iterator[list[Any]]:
        for frame in handlers.ask(question, conversation, _session(request)):
            yield frame.values()

    def stop(request: gr.Request) -> None:
        handlers.stop(_session(request))

    def start_afresh(request: gr.Request) -> list[Any]:
        return handlers.start_afresh(_session(request)).values()

    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    asking: dict[str, Any] = {"outputs": parts.outputs, "concurrency_limit": None, **hidden}
    inputs = [parts.box, parts.conversation]
    gr.on([parts.box.submit, parts.ask.click], ask, inputs, trigger_mode="always_last", **asking)
    for example in parts.examples:
        example.click(ask, [example, parts.conversation], **asking)
    parts.stop.click(stop, concurrency_limit=None, **hidden)
    parts.fresh.click(start_afresh, outputs=parts.outputs, concurrency_limit=None, **hidden)
    blocks.unload(stop)

    timer = gr.Timer(AHEAD_SECONDS)

    def tell_ahead() -> list[Any]:
        progress = handlers.assistant.reading_ahead
        going_on = progress is not None and progress.read < progress.total
        return [page.reading_ahead(progress), gr.Timer(active=going_on)]

    timer.tick(tell_ahead, outputs=[parts.ahead, timer], concurrency_limit=None, **hidden)


def _session(request: "gr.Request") -> str:
    return str(request.session_hash)
