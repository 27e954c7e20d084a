"""The papers tab: the collection browsed, searched, chosen from, edited, and added to.

What is shown is written by ``page_papers``; the list is kept by ``tab_papers.js``, which calls the
functions of ``Shelf``. Knows nothing of how papers are read or indexed.
"""

# No `from __future__ import annotations`: see ``tab_chat``.

import functools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, Self

from assistant.errors import USER_ERRORS
from assistant.intake import Intake
from assistant.resources import asset
from assistant.settings import Settings
from assistant.ui import page_papers
from assistant.ui.conversations import Conversations
from assistant.ui.drop_area import QUIET, drop_area, without_folders
from assistant.ui.page_papers import Recognised
from assistant.ui.references import references
from assistant.ui.served import complaint, served
from assistant.ui.visitors import collection_of
from vectorstore import IngestReport, Paper, PaperFormatError, Passage, Store
from vectorstore.collections import checked_name
from vectorstore.errors import CollectionError
from vectorstore.filters import Filters
from vectorstore.sources.fields import FieldError

if TYPE_CHECKING:
    import gradio as gr

PAGE = 50
"""Papers of the list that are shown at a time."""
FIRST = 5
"""Papers of a file that a preview shows."""
PROGRESS_SECONDS = 0.2
_MAP_HINT = " (--map FIELD=COLUMN to change)"


class Library(Protocol):
    """What the tab needs of an assistant."""

    @property
    def settings(self) -> Settings:
        """What it runs with."""

    @property
    def store(self) -> Store:
        """The papers."""

    def of(self, collection: str) -> Self:
        """The same for another collection; for the same one if it has no name."""

    def making(self, collection: str) -> AbstractContextManager[Store]:
        """Make a collection of what is ingested in the block."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """What the list asks for. Each answer is JSON, with safe HTML in it."""

    assistant: Library

    def collections(self, _wanted: object, _owner: str) -> str:
        """The collections that there are, the one that is shown among them."""
        settings, store = self.assistant.settings, self.assistant.store
        here = settings.place_name
        found = {each.name: each.papers for each in settings.collections.all()}
        return page_papers.collections({**found, here: len(store)}, here)

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
        self.notes.append(without_folders(text.removesuffix(_MAP_HINT)))

    def complain(self, message: str, hint: str | None = None) -> None:
        """Show what is wrong and what to do about it."""
        self.complaints.append(without_folders(f"{message}; {hint}" if hint else message))


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


def take(
    paths: Sequence[str],
    opening: AbstractContextManager[Store],
    total: int,
    tell: Callable[[IngestReport, int], str] = page_papers.report,
) -> Iterator[str]:
    """Add the papers of files; yields what to show, the report last.

    Args:
        paths: Of the files.
        opening: Where the papers go.
        total: How many there are.
        tell: Writes the report; given what was done, and how many could not be read.
    """
    news: queue.SimpleQueue[int | str] = queue.SimpleQueue()

    def work() -> None:
        intake = Intake(paths, {}, Collected())
        try:
            with opening as store:
                report = store.ingest(intake.papers(), progress=news.put)
            news.put(tell(report, intake.failed))
        except Exception as error:  # noqa: BLE001 - told to the page, or logged
            told = complaint(error)
            news.put(page_papers.problem(told["error"], told["hint"]))

    threading.Thread(target=work, name="page-intake", daemon=True).start()
    yield page_papers.progress(0, total, "Reading and indexing")
    while not isinstance(item := news.get(), str):
        yield page_papers.progress(item, total, "Reading and indexing")
        time.sleep(PROGRESS_SECONDS)
    yield item


def _check_new(name: str, names: Sequence[str]) -> None:
    if checked_name(name) in names:
        raise CollectionError(
            f'there is a collection "{name}" already',
            name=name,
            hint="another name; or open it, and add the papers there",
        )


def build(_blocks: "gr.Blocks", assistant: Library, _kept: Conversations) -> None:
    """Lay out the tab and wire its events."""
    import gradio as gr

    def look(paths: Sequence[str], collection: str) -> str:
        return page_papers.preview(recognise(paths, assistant.of(collection).store))

    with gr.Row(elem_id="papers-columns", elem_classes="columns"):
        gr.HTML(
            page_papers.shell(),
            elem_id="papers",
            apply_default_css=False,
            server_functions=served(
                lambda collection: Shelf(assistant.of(collection)),
                [
                    Shelf.collections,
                    Shelf.papers,
                    Shelf.count,
                    Shelf.paper,
                    Shelf.form,
                    Shelf.edit,
                    Shelf.remove,
                    Shelf.bibtex,
                ],
            ),
            js_on_load=asset("tab_papers.js"),
        )
        new_name = gr.Textbox(
            label="Make a new collection of them",
            placeholder="its name; leave empty to add them here",
            elem_id="new-collection",
            visible=False,
            render=False,
        )
        area = drop_area(
            page_papers.adding(),
            look,
            name="paper",
            button="Add these papers",
            several=True,
            asked=[new_name],
        )

    def take_all(paths: list[str] | None, name: str, request: gr.Request) -> Iterator[list[Any]]:
        here, name = assistant.of(collection_of(request)), name.strip()
        try:
            if name:
                _check_new(name, here.settings.collections.names())
            total = recognise(paths or [], here.store).papers
        except USER_ERRORS as error:
            told = page_papers.problem(without_folders(str(error)), error.hint)
            yield [*area.showing(told, act=True), gr.skip()]
            return
        opening = here.making(name) if name else nullcontext(here.store)
        tell = functools.partial(page_papers.made, name) if name else page_papers.report
        for markup in take(paths or [], opening, total, tell):
            yield [*area.showing(markup), gr.skip()]
        yield [*(gr.skip() for _ in area.outputs), None]

    area.button.click(take_all, [area.files, new_name], [*area.outputs, area.files], **QUIET)


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
