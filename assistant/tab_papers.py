"""The papers tab: the collection browsed, searched, chosen from, edited, and added to.

What is shown is written by ``page_papers``; the list is kept by ``tab_papers.js``, which calls the
functions of ``Shelf``. Knows nothing of how papers are read or indexed.
"""

# No `from __future__ import annotations`: see ``tab_chat``.

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from assistant import page_papers
from assistant.conversations import Conversations
from assistant.errors import USER_ERRORS
from assistant.intake import Intake
from assistant.page_papers import Recognised
from assistant.references import references
from assistant.resources import asset
from assistant.served import complaint, served
from vectorstore import Paper, PaperFormatError, Passage, Store
from vectorstore.fields import FieldError
from vectorstore.filters import Filters

if TYPE_CHECKING:
    import gradio as gr

PAGE = 50
"""Papers of the list that are shown at a time."""
FIRST = 5
"""Papers of a file that a preview shows."""
PROGRESS_SECONDS = 0.2
_MAP_HINT = " (--map FIELD=COLUMN to change)"


class Collection(Protocol):
    """What the tab needs of an assistant."""

    @property
    def store(self) -> Store:
        """The papers."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """What the list asks for. Each answer is JSON, with safe HTML in it."""

    assistant: Collection

    def papers(self, wanted: Mapping[str, Any], _owner: str) -> dict[str, Any]:
        """A page of the list: all papers, or those closest to some words, that pass a filter."""
        words = str(wanted.get("words", "")).strip()
        start = int(wanted.get("start", 0))
        store = self.assistant.store
        if words:
            where = Filters(years=_years(wanted)) if any(_years(wanted)) else None
            passages: Sequence[Passage] = store.search(words, PAGE, where)
            fitting = [p.paper for p in passages if _passes(p.paper, wanted)]
            told = page_papers.found(
                len(fitting), len(fitting), searched=True, limited=len(passages) == PAGE
            )
            return {"rows": page_papers.rows(fitting), "found": told, "more": False}
        if not _filters(wanted):
            total = len(store)
            shown = list(islice(store.papers(), start, start + PAGE))
        else:
            every = [paper for paper in store.papers() if _passes(paper, wanted)]
            total, shown = len(every), every[start : start + PAGE]
        end = start + len(shown)
        told = page_papers.found(end, total, searched=_filters(wanted) and not total, limited=False)
        return {"rows": page_papers.rows(shown), "found": told, "more": end < total}

    def count(self, _wanted: object, _owner: str) -> int:
        """Papers in the collection."""
        return len(self.assistant.store)

    def paper(self, wanted: str, _owner: str) -> str:
        """What a row unfolds."""
        return page_papers.detail(self.assistant.store.paper(wanted))

    def form(self, wanted: str, _owner: str) -> str:
        """The form that edits a paper."""
        return page_papers.form(self.assistant.store.paper(wanted))

    def edit(self, wanted: Mapping[str, Any], _owner: str) -> str:
        """Keep an edited paper; returns what its row unfolds."""
        store = self.assistant.store
        paper = store.paper(str(wanted["paper"]))
        changes, removals = differences(paper, wanted["fields"])
        if changes or removals:
            try:
                paper = store.edit(paper.id, changes, removals)
            except FieldError as error:
                raise PaperFormatError(
                    error.reason, path=paper.title, line=None, hint="correct it, and save again"
                ) from error
        return page_papers.detail(paper)

    def remove(self, wanted: Sequence[str], _owner: str) -> int:
        """Remove papers; returns how many are left."""
        self.assistant.store.remove([str(each) for each in wanted])
        return len(self.assistant.store)

    def bibtex(self, wanted: Sequence[str], _owner: str) -> dict[str, str]:
        """Papers as a file of references."""
        papers = [self.assistant.store.paper(str(each)) for each in wanted]
        content = references(papers, "bibtex")
        return {"name": "papers.bib", "content": content, "media_type": "application/x-bibtex"}


def differences(paper: Paper, fields: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """What somebody has changed and what they have emptied, of the fields that can be edited."""
    before = page_papers.typed(paper)
    after = {name: str(fields.get(name, "")).strip() for name in before}
    changes = {name: text for name, text in after.items() if text and text != before[name]}
    removals = [name for name, text in after.items() if before[name] and not text]
    return changes, removals


@dataclass(slots=True)
class Collected:
    """Notes and complaints of an intake, for the page."""

    notes: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Show something about the work."""
        self.notes.append(_without_folder(text.removesuffix(_MAP_HINT)))

    def complain(self, message: str, hint: str | None = None) -> None:
        """Show what is wrong and what to do about it."""
        self.complaints.append(_without_folder(f"{message}; {hint}" if hint else message))


def recognise(paths: Sequence[str], store: Store) -> Recognised:
    """Read files without taking anything.

    Raises:
        PaperFormatError: There is no paper in them.
    """
    display = Collected()
    intake = Intake(paths, {}, display)
    first: list[Paper] = []
    count = 0

    def counted(papers: Iterable[Paper]) -> Iterator[Paper]:
        nonlocal count
        for paper in papers:
            count += 1
            if count <= FIRST:
                first.append(paper)
            yield paper

    difference = store.difference(store.path, counted(intake.papers()))
    return Recognised(
        papers=count,
        first=tuple(first),
        difference=difference,
        notes=tuple(display.notes),
        complaints=tuple(display.complaints[: page_papers.SHOWN_COMPLAINTS]),
        failed=intake.failed,
    )


def take(paths: Sequence[str], store: Store, total: int) -> Iterator[str]:
    """Add the papers of files; yields what to show, the report last."""
    news: queue.SimpleQueue[int | str] = queue.SimpleQueue()

    def work() -> None:
        intake = Intake(paths, {}, Collected())
        try:
            report = store.ingest(intake.papers(), progress=news.put)
            news.put(page_papers.report(report, intake.failed))
        except Exception as error:  # noqa: BLE001 - told to the page, or logged
            told = complaint(error)
            news.put(page_papers.problem(told["error"], told["hint"]))

    threading.Thread(target=work, name="page-intake", daemon=True).start()
    yield page_papers.progress(0, total, "Reading and indexing")
    while not isinstance(item := news.get(), str):
        yield page_papers.progress(item, total, "Reading and indexing")
        time.sleep(PROGRESS_SECONDS)
    yield item


def build(_blocks: "gr.Blocks", assistant: Collection, _kept: Conversations) -> None:
    """Lay out the tab and wire its events."""
    import gradio as gr

    shelf = Shelf(assistant)
    with gr.Row(elem_id="papers-columns", elem_classes="columns"):
        gr.HTML(
            page_papers.shell(),
            elem_id="papers",
            apply_default_css=False,
            server_functions=served(
                [
                    shelf.papers,
                    shelf.count,
                    shelf.paper,
                    shelf.form,
                    shelf.edit,
                    shelf.remove,
                    shelf.bibtex,
                ]
            ),
            js_on_load=asset("tab_papers.js"),
        )
        with gr.Column(elem_id="adding", elem_classes="aside", min_width=0):
            gr.HTML(page_papers.adding(), apply_default_css=False, js_on_load=None)
            dropped = gr.File(
                label="Files of papers",
                show_label=False,
                file_count="multiple",
                elem_id="paper-files",
                height=130,
            )
            shown = gr.HTML("", elem_id="adding-shown", apply_default_css=False, js_on_load=None)
            add = gr.Button("Add these papers", elem_id="add-papers", visible=False)

    def look(paths: list[str] | None) -> list[Any]:
        if not paths:
            return ["", gr.Button(visible=False)]
        try:
            recognised = recognise(paths, assistant.store)
        except USER_ERRORS as error:
            said = _without_folder(str(error))
            return [page_papers.problem(said, error.hint), gr.Button(visible=False)]
        return [page_papers.preview(recognised), gr.Button(visible=True)]

    def take_all(paths: list[str] | None) -> Iterator[list[Any]]:
        total = recognise(paths or [], assistant.store).papers
        for markup in take(paths or [], assistant.store, total):
            yield [markup, gr.Button(visible=False), gr.skip()]
        yield [gr.skip(), gr.skip(), None]

    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    dropped.upload(look, dropped, [shown, add], **hidden)
    dropped.clear(lambda: gr.Button(visible=False), outputs=add, **hidden)
    add.click(take_all, dropped, [shown, add, dropped], **hidden)


def _filters(wanted: Mapping[str, Any]) -> bool:
    return any(wanted.get(name) for name in ("from", "to", "code"))


def _years(wanted: Mapping[str, Any]) -> tuple[int | None, int | None]:
    earliest, latest = (int(wanted.get(name) or 0) or None for name in ("from", "to"))
    return earliest, latest


def _passes(paper: Paper, wanted: Mapping[str, Any]) -> bool:
    earliest, latest = _years(wanted)
    if wanted.get("code") and not paper.code_url:
        return False
    if not earliest and not latest:
        return True
    return paper.year is not None and (earliest or 0) <= paper.year <= (latest or paper.year)


def _without_folder(text: str) -> str:
    """A message without the folders that an upload passed through."""
    words = (Path(w).name if w.startswith("/") and len(w) > 1 else w for w in text.split(" "))
    return " ".join(words)
