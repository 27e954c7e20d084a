"""The chat tab: one question at a time per visitor, its stream shown as it comes.

What is shown is written by ``page`` and ``page_history``; Gradio carries it, and brings the ask box
and the buttons. Knows nothing of retrieval, prompts or models.
"""

# No `from __future__ import annotations`: Gradio finds the request parameter of a handler by its
# annotation, which must therefore be the class itself.

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from assistant.errors import USER_ERRORS, ConversationsError
from assistant.escaping import json_text
from assistant.llm.ahead import Progress
from assistant.settings import Settings
from assistant.streaming.runs import EventSource, Run, Runs, answer_turns
from assistant.streaming.turn import Turn, failed
from assistant.ui import page, page_history
from assistant.ui.conversations import Conversations, Rated, Rating, new_id
from assistant.ui.export import exported
from assistant.ui.served import complaint, served
from assistant.ui.visitors import collection_of, owner_of, session_of
from vectorstore.filters import Filters

if TYPE_CHECKING:
    import gradio as gr

logger = logging.getLogger(__name__)

AHEAD_SECONDS = 2.0
"""Between two looks at how many papers were read ahead."""


class StreamingAssistant(Protocol):
    """What the page needs of an assistant."""

    @property
    def settings(self) -> Settings:
        """What it runs with."""

    @property
    def store(self) -> Sized:
        """The collection; its length is the number of papers."""

    @property
    def examples(self) -> tuple[str, ...]:
        """Questions that this collection can answer."""

    @property
    def reading_ahead(self) -> Progress | None:
        """How many papers are read before anybody asks."""

    def stream(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> EventSource:
        """Answer a question, from the papers that meet the filters."""

    def of(self, collection: str) -> Self:
        """The same for another collection; for the same one if it has no name."""


@dataclass(frozen=True, slots=True)
class PastTurn:
    """A finished turn as it is kept: what was asked, and how it looks."""

    question: str
    html: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """The finished turns of one visitor, oldest first."""

    id: str = ""
    """By which it is kept; empty before the first question."""
    turns: tuple[PastTurn, ...] = ()

    @property
    def history(self) -> tuple[str, ...]:
        """Earlier questions, for a follow-up to lean on."""
        return tuple(turn.question for turn in self.turns if not turn.failed)


def build(blocks: "gr.Blocks", assistant: Any, kept: Conversations) -> None:
    """Lay out the tab and wire its events.

    Args:
        blocks: The page.
        assistant: A ``StreamingAssistant``.
        kept: Where conversations are kept.
    """
    handlers = _Handlers(assistant, kept)
    parts = _lay_out(assistant.examples, len(assistant.store), handlers)
    _wire(blocks, parts, handlers)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The components that events read and write."""

    past: "gr.HTML"
    current: "gr.HTML"
    sources: "gr.HTML"
    announcer: "gr.HTML"
    conversation: "gr.State"
    box: "gr.Textbox"
    scope: "gr.Textbox"
    ask: "gr.Button"
    stop: "gr.Button"
    fresh: "gr.Button"
    examples: "tuple[gr.Button, ...]"
    examples_column: "gr.Column"
    ahead: "gr.HTML"

    @property
    def outputs(self) -> "list[gr.components.Component]":
        """In the order of ``_Frame.values``."""
        return [
            self.past,
            self.current,
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
    kept: Conversations = field(default_factory=lambda: Conversations(None))
    runs: Runs = field(default_factory=Runs)

    def of(self, collection: str) -> "_Handlers":
        """The same for a collection.

        Raises:
            StoreError: It is not there, or cannot be opened.
        """
        return replace(self, assistant=self.assistant.of(collection))

    def ask(
        self,
        question: str,
        conversation: Conversation,
        session: str,
        *,
        papers: Sequence[str] = (),
        owner: str = "",
    ) -> Iterator[_Frame]:
        """Answer a question; an empty one changes nothing."""
        question = question.strip()
        if not question:
            return
        # Asked again, it does not lean on itself.
        history = tuple(earlier for earlier in conversation.history if earlier != question)
        where = Filters(ids=tuple(papers)) if papers else None
        run = Run(lambda: self.assistant.stream(question, history=history, where=where))
        self.runs.start(session, run)
        # Gradio closes this generator when the visitor leaves; then the model must stop, too.
        try:
            yield from self._frames(run, question, conversation, owner, len(papers))
        finally:
            self.runs.finish(session, run)

    def _frames(
        self, run: Run, question: str, conversation: Conversation, owner: str, chosen: int
    ) -> Iterator[_Frame]:
        number = len(conversation.turns) + 1
        name = conversation.id or new_id()
        papers = len(self.assistant.store)
        asked = Turn(number, question, collection_papers=papers, chosen_papers=chosen)
        past = _Frame(past="".join(turn.html for turn in conversation.turns), box="")
        shown = _drawn(past, asked, name)
        yield shown
        for turn in answer_turns(run, asked):
            if run.discarded.is_set():
                # Gradio repeats the last frame when a generator ends: it must be an empty one.
                run.released.set()
                yield _Frame()
                return
            frame = _drawn(past, turn, name)
            if turn.outcome != "running":
                self._keep(name, turn, owner)
                turns = (*conversation.turns, _past(turn, name))
                frame = replace(frame, conversation=Conversation(name, turns))
            news = frame.since(shown)
            shown = frame
            if any(part is not None for part in _fields(news)):
                yield news

    def _keep(self, name: str, turn: Turn, owner: str) -> None:
        place = self.assistant.settings.place_name
        try:
            self.kept.keep(name, turn, owner=owner, collection=place)
        except ConversationsError:
            # The answer is there and must be shown, whatever has become of the file.
            logger.exception("a turn could not be kept")

    def refuse(self, question: str, conversation: Conversation, error: Exception) -> _Frame:
        """Answer a question that cannot be asked with what is wrong."""
        told = complaint(error)
        turn = failed(
            Turn(len(conversation.turns) + 1, question, collection_papers=0),
            told["error"],
            hint=told["hint"],
            elapsed_seconds=0.0,
        )
        return _Frame(current=page.turn(turn), announcement=page.announcement(turn))

    def restore(self, name: str, collection: str, owner: str = "") -> _Frame:
        """Show a kept conversation, or without a name the beginning of one.

        Args:
            name: Of the conversation.
            collection: That the page shows; a conversation of another one is not shown.
            owner: Whose it must be.
        """
        place = self.assistant.settings.place_name
        here = collection or place
        if not name:
            return _Frame() if here == place else _Frame(current=self._beginning(here))
        turns = self.kept.turns(name, owner=owner)
        if not turns:
            return _Frame(current=page_history.lost(), conversation=Conversation())
        there = self.kept.collection(name, owner=owner)
        if there and there != here:
            return _Frame(current=page_history.elsewhere(name, there), conversation=Conversation())
        ratings = self.kept.ratings(name, owner=owner)
        past = tuple(_past(turn, name, ratings.get(turn.number)) for turn in turns)
        return _Frame(
            past="".join(turn.html for turn in past[:-1]),
            current=past[-1].html,
            sources=page.sources(turns[-1]),
            announcement=f"Conversation with {len(turns)} questions.",
            conversation=Conversation(name, past),
        )

    def _beginning(self, collection: str) -> str:
        """What stands in the place of a conversation that has not begun."""
        try:
            return page.welcome(len(self.of(collection).assistant.store))
        except USER_ERRORS as error:
            return page_history.no_collection(str(error), error.hint)

    def stop(self, session: str) -> None:
        """Stop the visitor's question."""
        self.runs.stop(session)

    def start_afresh(self, session: str, collection: str = "") -> _Frame:
        """Forget the conversation."""
        self.runs.discard(session)
        return _Frame(
            past="",
            current=self._beginning(collection),
            sources=page.no_sources(),
            announcement="New conversation.",
            conversation=Conversation(),
            box="",
        )


def _drawn(frame: _Frame, turn: Turn, name: str) -> _Frame:
    return replace(
        frame,
        current=page.turn(turn, conversation=name),
        sources=page.sources(turn),
        announcement=page.announcement(turn),
    )


def _past(turn: Turn, name: str, rating: Rating | None = None) -> PastTurn:
    return PastTurn(
        question=turn.question,
        html=page.turn(turn, conversation=name, rating=rating),
        failed=turn.outcome == "failed",
    )


@dataclass(frozen=True, slots=True)
class Desk:
    """What the page asks for outside of a stream. Each answer is text, JSON or safe HTML."""

    kept: Conversations
    collection: str
    """That the page shows."""

    def sources(self, wanted: Mapping[str, Any], owner: str) -> str:
        """The sources of an earlier answer."""
        turn = self._turn(wanted, owner)
        return page.sources(turn) if turn else ""

    def conversations(self, wanted: Mapping[str, Any], owner: str) -> str:
        """The list of conversations that hold some words."""
        words = str(wanted.get("words", ""))
        found = self.kept.list(words, owner=owner)
        return page_history.conversations(
            found, here=self.collection, now=time.time(), searched=bool(words.strip())
        )

    def change(self, wanted: Mapping[str, Any], owner: str) -> bool:
        """Rename or delete a conversation, or delete all."""
        name = str(wanted.get("conversation", ""))
        match wanted["what"]:
            case "rename":
                self.kept.rename(name, str(wanted["title"]), owner=owner)
            case "delete":
                self.kept.delete(name, owner=owner)
            case "delete all":
                self.kept.delete_all(owner=owner)
        return True

    def save(self, wanted: Mapping[str, Any], owner: str) -> dict[str, str]:
        """An answer, or without a number the conversation, as a file."""
        name = str(wanted["conversation"])
        if wanted.get("number") is None:
            turns = self.kept.turns(name, owner=owner)
            title = self.kept.title(name, owner=owner)
        else:
            turns = tuple(turn for turn in [self._turn(wanted, owner)] if turn)
            title = turns[0].question if turns else ""
        return exported(title, turns, str(wanted["form"]))._asdict()

    def why(self, wanted: Mapping[str, Any], owner: str) -> str:
        """The form that asks what is wrong with an answer."""
        turn = self._turn(wanted, owner)
        return page_history.why(turn) if turn else ""

    def rate(self, wanted: Mapping[str, Any], owner: str) -> bool:
        """Keep a judgement; its reason is JSON with what the form held."""
        rating = wanted["rating"] if wanted["rating"] in ("good", "bad") else None
        reason = json_text({k: str(v)[:500] for k, v in dict(wanted.get("why") or {}).items()})
        name, number = str(wanted["conversation"]), int(wanted["number"])
        self.kept.rate(name, number, rating, reason, owner=owner)
        return True

    def rows(self, wanted: Mapping[str, Any], owner: str) -> dict[str, str]:
        """Answers that were judged wrong, as a question file of ``assistant eval``."""
        rated = [
            each
            for each in self.kept.rated("bad", owner=owner)
            if wanted.get("conversation") in (None, each.conversation)
            and wanted.get("number") in (None, each.turn.number)
        ]
        lines = (json_text(evaluation_row(each)) + "\n" for each in rated)
        return {
            "name": "judged_questions.jsonl",
            "content": "".join(lines),
            "media_type": "application/jsonl",
        }

    def _turn(self, wanted: Mapping[str, Any], owner: str) -> Turn | None:
        return self.kept.turn(str(wanted["conversation"]), int(wanted["number"]), owner=owner)


def evaluation_row(rated: Rated) -> dict[str, Any]:
    """A judged turn as a row of ``assistant eval``: its question, and what would be right."""
    why = json.loads(rated.reason or "{}")
    paper, fact = why.get("paper", ""), why.get("fact", "").strip()
    row: dict[str, Any] = {
        "id": f"{rated.conversation}-{rated.turn.number}",
        "kind": "unanswerable" if paper == "none" else "single",
        "question": rated.turn.question,
        "papers": [paper] if paper and paper != "none" else [],
        "facts": [[fact]] if fact else [],
        "complaint": " ".join(filter(None, (why.get("reason"), why.get("note")))),
    }
    return row | ({"history": list(rated.earlier)} if rated.earlier else {})


def _lay_out(examples: Sequence[str], papers: int, handlers: _Handlers) -> _Parts:
    import gradio as gr

    def block(value: str, name: str) -> gr.HTML:
        return gr.HTML(value, elem_id=name, apply_default_css=False, js_on_load=None)

    with gr.Row(elem_id="columns"):
        with gr.Column(elem_id="talk", scale=3, min_width=0):
            with gr.Row(elem_id="bar"):
                fresh = gr.Button("New conversation", elem_id="fresh", size="sm", scale=0)
                block(page_history.bar(kept=handlers.kept.path is not None), "bar-acts")
            with gr.Column(elem_id="turns"):
                past = block("", "past")
                current = block(page.welcome(papers), "current")
                with gr.Column(elem_id="examples") as examples_column:
                    buttons = tuple(
                        gr.Button(example, elem_classes="example", size="sm")
                        for example in (examples if papers else ())
                    )
            with gr.Column(elem_id="dock"):
                block(page.scope(), "scope-bar")
                scope = gr.Textbox("", visible="hidden", elem_id="scope", container=False)
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
        with gr.Column(elem_id="sources-panel", scale=2):
            block(page.past_sources(), "past-sources")
            sources = block(page.no_sources(), "sources-now")
    announcer = block(page.live(""), "announcer")
    _lay_out_desk(handlers)
    conversation = gr.State(Conversation())
    return _Parts(
        past,
        current,
        sources,
        announcer,
        conversation,
        box,
        scope,
        ask,
        stop,
        fresh,
        buttons,
        examples_column,
        ahead,
    )


def _lay_out_desk(handlers: _Handlers) -> None:
    import gradio as gr

    kept, place = handlers.kept, handlers.assistant.settings.place_name
    gr.HTML(
        page_history.dialog(str(kept.path or "memory")),
        elem_id="desk",
        apply_default_css=False,
        server_functions=served(
            lambda collection: Desk(kept, collection or place),
            [
                Desk.sources,
                Desk.conversations,
                Desk.change,
                Desk.save,
                Desk.why,
                Desk.rate,
                Desk.rows,
            ],
        ),
        js_on_load="window.deskServer = server;",
    )


def _wire(blocks: "gr.Blocks", parts: _Parts, handlers: _Handlers) -> None:
    import gradio as gr

    def ask(
        question: str, conversation: Conversation, scope: str, request: gr.Request
    ) -> Iterator[list[Any]]:
        try:
            here = handlers.of(collection_of(request))
        except USER_ERRORS as error:
            yield handlers.refuse(question, conversation, error).values()
            return
        frames = here.ask(
            question,
            conversation,
            session_of(request),
            papers=chosen_papers(scope),
            owner=owner_of(request),
        )
        for frame in frames:
            yield frame.values()

    def stop(request: gr.Request) -> None:
        handlers.stop(session_of(request))

    def start_afresh(request: gr.Request) -> list[Any]:
        return handlers.start_afresh(session_of(request), collection_of(request)).values()

    def restore(request: gr.Request) -> list[Any]:
        name = dict(request.query_params).get("conversation", "")
        frame = handlers.restore(str(name), collection_of(request), owner_of(request))
        return frame.values()

    def show_examples(request: gr.Request) -> Any:
        # They are questions for the papers of the first collection.
        place = handlers.assistant.settings.place_name
        return gr.Column(visible=collection_of(request) in ("", place))

    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    asking: dict[str, Any] = {"outputs": parts.outputs, "concurrency_limit": None, **hidden}
    inputs = [parts.box, parts.conversation, parts.scope]
    gr.on([parts.box.submit, parts.ask.click], ask, inputs, trigger_mode="always_last", **asking)
    for example in parts.examples:
        example.click(ask, [example, parts.conversation, parts.scope], **asking)
    blocks.load(restore, outputs=parts.outputs, concurrency_limit=None, **hidden)
    blocks.load(show_examples, outputs=parts.examples_column, concurrency_limit=None, **hidden)
    parts.stop.click(stop, concurrency_limit=None, **hidden)
    parts.fresh.click(start_afresh, outputs=parts.outputs, concurrency_limit=None, **hidden)
    blocks.unload(stop)

    _wire_ahead(parts, handlers)


def _wire_ahead(parts: _Parts, handlers: _Handlers) -> None:
    import gradio as gr

    timer = gr.Timer(AHEAD_SECONDS)

    def tell_ahead(request: gr.Request) -> list[Any]:
        try:
            progress = handlers.of(collection_of(request)).assistant.reading_ahead
        except USER_ERRORS:
            progress = None  # there is no such collection, which is told elsewhere
        going_on = progress is not None and progress.read < progress.total
        return [page.reading_ahead(progress), gr.Timer(active=going_on)]

    timer.tick(
        tell_ahead,
        outputs=[parts.ahead, timer],
        concurrency_limit=None,
        show_progress="hidden",
        api_visibility="private",
    )


def chosen_papers(scope: str) -> tuple[str, ...]:
    """Ids out of the hidden field that the page's own script writes; whatever else is there, none.

    Args:
        scope: A JSON list of texts.
    """
    try:
        ids = json.loads(scope) if scope else []
    except ValueError:
        return ()
    return tuple(each for each in ids if isinstance(each, str)) if isinstance(ids, list) else ()
