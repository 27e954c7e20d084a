"""The chat page: one question at a time per visitor, its stream shown as it comes.

The only importer of Gradio, which is used for the transport, the ask box and the buttons; what
is shown is written by ``page``. Knows nothing of retrieval, prompts or models: it sees the events
of ``assistant.types`` and the errors that are meant for the user.
"""

# No `from __future__ import annotations`: Gradio finds the request parameter of a handler by its
# annotation, which must therefore be the class itself.

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from assistant import page
from assistant.ahead import Progress
from assistant.errors import USER_ERRORS
from assistant.turn import Turn, advance, failed, stopped, tick
from assistant.types import Event

if TYPE_CHECKING:
    import gradio as gr
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

UPDATE_SECONDS = 0.1
"""At most this often is the page redrawn; a reader sees no more, and a browser tires of more."""
CLOCK_SECONDS = 1.0
"""This often at least while nothing happens, so that the clock runs."""
RELEASE_SECONDS = 2.0
"""Waited at most for a discarded run to leave the page; a visitor who has gone never lets go."""
AHEAD_SECONDS = 2.0
"""Between two looks at how many papers were read ahead."""

_ASSETS = Path(__file__).parent
_CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)
"""Gradio needs inline scripts and eval; the rest, any other host above all, is closed."""


class EventSource(Protocol):
    """The events of one question, as they come."""

    def __iter__(self) -> Iterator[Event]:
        """Wait for one event after the other."""

    def close(self) -> None:
        """Stop the model and end the iteration; from whatever thread, repeatedly if you like."""


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


class Run:
    """One question being answered, drained by a thread of its own.

    A stream may be silent for seconds while the model reads. The thread puts its events into a
    queue, so that the page's clock keeps running and a stop is seen at once.
    """

    def __init__(self, open_stream: Callable[[], EventSource]) -> None:
        self.discarded = threading.Event()
        """Set when nobody wants to see the outcome any more."""
        self.released = threading.Event()
        """Set when the page shows nothing more of this run."""
        self.ended = threading.Event()
        """Set when the stream is closed."""
        self._open_stream = open_stream
        self._stream: EventSource | None = None
        self._opening = threading.Lock()
        self._stop = threading.Event()
        self._news: queue.SimpleQueue[Event | Exception | None] = queue.SimpleQueue()
        threading.Thread(target=self._drain, name="page-run", daemon=True).start()

    @property
    def was_stopped(self) -> bool:
        """Somebody asked for an early end."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Close the stream early; returns at once, from any thread, repeatedly if you like."""
        self._stop.set()
        self._news.put(None)
        with self._opening:
            stream = self._stream
        if stream is not None:
            stream.close()

    def batches(self) -> Iterator[list[Event]]:
        """Yield news as it comes, an empty list when only time has passed.

        Ends with the stream, or as soon as it is stopped.

        Raises:
            Exception: What the stream raised.
        """
        while True:
            batch, ended = self._next_batch()
            if self.was_stopped:
                return
            failure = next((item for item in batch if isinstance(item, Exception)), None)
            yield [item for item in batch if not isinstance(item, Exception)]
            if failure is not None:
                raise failure
            if ended:
                return

    def _next_batch(self) -> tuple[list[Event | Exception], bool]:
        batch: list[Event | Exception] = []
        try:
            item = self._news.get(timeout=CLOCK_SECONDS)
            while item is not None:
                batch.append(item)
                item = self._news.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _drain(self) -> None:
        try:
            stream = self._open_stream()
            with self._opening:
                self._stream = stream
            with closing(stream):
                # Stopped while the stream was being opened: nobody else closes it.
                for event in () if self.was_stopped else stream:
                    self._news.put(event)
        except Exception as error:  # noqa: BLE001 - handed over: `batches` raises it
            self._news.put(error)
        finally:
            self.ended.set()
            self._news.put(None)


class Runs:
    """The running question of each visitor, by Gradio's session."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_session: dict[str, Run] = {}

    def start(self, session: str, run: Run) -> None:
        """Register a run; an earlier one of the same visitor is stopped."""
        with self._lock:
            earlier = self._by_session.pop(session, None)
            self._by_session[session] = run
        if earlier is not None:
            earlier.stop()

    def finish(self, session: str, run: Run) -> None:
        """Stop a run, if it still goes on, and forget it."""
        run.stop()
        run.released.set()
        with self._lock:
            if self._by_session.get(session) is run:
                del self._by_session[session]

    def stop(self, session: str) -> None:
        """Stop the visitor's run, if there is one."""
        run = self._find(session)
        if run is not None:
            run.stop()

    def discard(self, session: str) -> None:
        """Stop the visitor's run, if there is one, and wait until nothing more of it is shown."""
        run = self._find(session)
        if run is not None:
            run.discarded.set()
            run.stop()
            run.released.wait(RELEASE_SECONDS)

    def _find(self, session: str) -> Run | None:
        with self._lock:
            return self._by_session.get(session)


def answer_turns(run: Run, turn: Turn) -> Iterator[Turn]:
    """Yield the turn as it grows, at most every ``UPDATE_SECONDS``; the last one is finished.

    Nothing raised by the stream leaves here: it becomes the outcome of the turn.
    """
    started = time.monotonic()

    def elapsed() -> float:
        return time.monotonic() - started

    try:
        for batch in run.batches():
            for event in batch:
                turn = advance(turn, event, elapsed_seconds=elapsed())
            turn = tick(turn, elapsed_seconds=elapsed()) if turn.outcome == "running" else turn
            yield turn
            time.sleep(UPDATE_SECONDS)
    except USER_ERRORS as error:
        turn = failed(turn, str(error), hint=error.hint, elapsed_seconds=elapsed())
    except Exception:
        logger.exception("a question on the page failed")
        turn = failed(
            turn,
            "Something went wrong inside the assistant; its log has the details.",
            hint="assistant doctor",
            elapsed_seconds=elapsed(),
        )
    if turn.outcome == "running":
        turn = stopped(turn, elapsed_seconds=elapsed())
    yield turn


def build_page(assistant: StreamingAssistant) -> "gr.Blocks":
    """Lay out the page and wire its events; nothing is served yet.

    Args:
        assistant: Answers the questions of all visitors; it queues them itself.
    """
    _forbid_telemetry()
    import gradio as gr

    papers = len(assistant.store)
    blocks: gr.Blocks = gr.Blocks(
        title="Abstract Assistant", analytics_enabled=False, fill_width=True
    )
    with blocks:
        parts = _lay_out(assistant.examples, papers)
        _wire(blocks, parts, _Handlers(assistant))
    blocks.queue(default_concurrency_limit=None, api_open=False)
    return blocks


def mount_page(app: "Starlette", assistant: StreamingAssistant, *, host: str, port: int) -> None:
    """Add the page to an application, under all paths that it does not use itself.

    Args:
        app: Decides who may reach the page, and from which sites.
        assistant: Answers the questions of all visitors.
        host: Where the application will listen.
        port: Where the application will listen.
    """
    blocks = build_page(assistant)
    import gradio as gr
    from starlette.middleware import Middleware

    gr.mount_gradio_app(
        cast("Any", app),  # a FastAPI, of which this module needs to know nothing
        blocks,
        path="/",
        server_name=host,
        server_port=port,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=[],
        allowed_paths=[],
        max_file_size="1mb",
        favicon_path=str(_ASSETS / "page.svg"),
        theme=_theme(),
        # As a style element of our own: Gradio rewrites the selectors of its `css` argument.
        head=f"<style>{(_ASSETS / 'page.css').read_text(encoding='utf-8')}</style>",
        js=(_ASSETS / "page.js").read_text(encoding="utf-8"),
        app_kwargs={"middleware": [Middleware(_SecurityHeaders)]},
    )


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

    block(page.header(papers), "masthead")
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


def _theme() -> "gr.themes.Base":
    """Fonts of the reader's system only: nothing is fetched. Colours are in ``page.css``."""
    import gradio as gr

    return gr.themes.Base(
        font=("ui-sans-serif", "system-ui", "sans-serif"),
        font_mono=("ui-monospace", "Consolas", "monospace"),
    )


class _SecurityHeaders:
    """Adds the headers that close the page to other hosts, even if markup slipped through."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"content-security-policy", _CONTENT_POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _forbid_telemetry() -> None:
    # Read by Gradio when it is imported and again later.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
