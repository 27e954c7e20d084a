"""The collection as HTML that is safe to show: its papers, one of them, and what a file holds.

Pure; see ``page``. Ids of papers may hold anything, so they go into attributes, escaped.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from assistant.ui.formulas import typeset
from assistant.ui.page import byline, called, links
from vectorstore import Difference, IngestReport, Paper

SHOWN_COMPLAINTS = 10
FIELDS = (
    ("title", "Title"),
    ("authors", "Authors, with semicolons between"),
    ("year", "Year"),
    ("venue", "Venue"),
    ("url", "Address of the paper"),
    ("code_url", "Address of the code"),
    ("abstract", "Abstract"),
)
"""What can be edited, and what it is called."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was found in files that are not in the collection yet."""

    papers: int
    first: tuple[Paper, ...]
    difference: Difference
    notes: tuple[str, ...]
    """Which columns were taken for which field, and duplicates."""
    complaints: tuple[str, ...]
    failed: int


def shell() -> str:
    """The tab before anything is known of the papers."""
    return (
        '<section class="sheet papers-tab" aria-label="Papers">'
        '<nav class="collections" aria-label="Collections" hidden></nav><div class="tools">'
        '<input type="search" class="search" placeholder="Search papers by words or meaning" '
        'aria-label="Search papers">'
        '<label class="year">years <input type="number" class="from" min="1500" max="2100" '
        'aria-label="From year"></label>'
        '<label class="year">to <input type="number" class="to" min="1500" max="2100" '
        'aria-label="To year"></label>'
        '<label class="check"><input type="checkbox" class="code"> with code</label></div>'
        '<div class="chosen" hidden><span class="chosen-count"></span>'
        '<button type="button" class="plain primary ask-chosen">Ask only these</button>'
        '<button type="button" class="plain save-chosen">Save as BibTeX</button>'
        '<button type="button" class="plain remove-chosen">Remove</button>'
        '<button type="button" class="link clear-chosen">Clear the choice</button></div>'
        '<p class="quiet found" role="status"></p><ul class="paper-rows"></ul>'
        '<button type="button" class="plain more-papers" hidden>Show more</button>'
        '<dialog class="edit-paper" aria-label="Edit this paper"></dialog></section>'
    )


def collections(sizes: Mapping[str, int | None], here: str) -> str:
    """All collections with their numbers of papers, each a link; nothing where there is but one."""
    if len(sizes) < 2:
        return ""
    return '<span class="quiet">Collections</span>' + "".join(
        _collection(name, papers, name == here) for name, papers in sorted(sizes.items())
    )


def adding() -> str:
    """What can be added, and how."""
    return (
        "<h2>Add papers</h2><p>Drop files here. You see what was recognised before anything is "
        'added.</p><p class="quiet">JSON, CSV, BibTeX, RIS, PubMed, arXiv, Zotero, Parquet; also '
        "packed with gzip or Zstandard.</p>"
    )


def rows(papers: Sequence[Paper]) -> str:
    """Papers of the list."""
    return "".join(_row(paper) for paper in papers)


def found(shown: int, total: int, *, searched: bool, limited: bool) -> str:
    """How many there are."""
    if total == 0:
        return "No paper fits." if searched else "No papers yet. Drop a file below to add some."
    count = "1 paper" if total == 1 else f"{total:,} papers"
    if searched:
        most = "the closest " if limited else ""
        return f"{most}{count}, closest first".capitalize()
    return count if shown == total else f"{count}, the first {shown:,} shown"


def detail(paper: Paper) -> str:
    """What a row unfolds."""
    return (
        f'<p class="abstract" dir="auto">{typeset(paper.abstract)}</p>{links(paper)}'
        '<p class="acts"><button type="button" class="link ask-paper">Ask this paper</button>'
        '<button type="button" class="link similar">Find similar</button>'
        '<button type="button" class="link edit-this">Edit</button>'
        '<button type="button" class="link danger remove-this">Remove</button></p>'
    )


def typed(paper: Paper) -> dict[str, str]:
    """The fields that can be edited, as they are typed."""
    values = {name: getattr(paper, name) for name, _ in FIELDS} | {
        "authors": "; ".join(paper.authors)
    }
    return {name: "" if value is None else str(value).strip() for name, value in values.items()}


def form(paper: Paper) -> str:
    """The form that edits a paper."""
    values = typed(paper)
    fields = "".join(_field(name, label, values[name]) for name, label in FIELDS)
    return (
        f'<form method="dialog" data-paper="{_text(paper.id)}"><h2>Edit this paper</h2>{fields}'
        '<div class="buttons"><button value="save" class="primary">Save</button>'
        '<button value="" formnovalidate>Cancel</button></div></form>'
    )


def preview(recognised: Recognised) -> str:
    """What a file holds, before it is taken."""
    difference = recognised.difference
    counted = (
        (difference.added, "new"),
        (difference.updated, "changed"),
        (difference.unchanged, "here already"),
    )
    told = ", ".join(f"{number:,} {what}" for number, what in counted if number)
    first = "".join(
        f"<li><strong>{typeset(paper.title)}</strong>{byline(paper)}</li>"
        for paper in recognised.first
    )
    more = recognised.papers - len(recognised.first)
    rest = f"<li>and {more:,} more</li>" if more > 0 else ""
    heading = "1 paper" if recognised.papers == 1 else f"{recognised.papers:,} papers"
    return (
        f'<section class="preview"><h3>{heading}: {told}</h3>'
        f"{_notes(recognised)}<ul>{first}{rest}</ul></section>"
    )


def progress(done: int, total: int, doing: str) -> str:
    """How far something is."""
    return (
        f'<p class="progress" role="status">{_text(doing)}: {done:,} of {total:,}'
        f'<progress value="{done}" max="{max(total, 1)}" aria-label="{_text(doing)}">'
        "</progress></p>"
    )


def report(result: IngestReport, failed: int) -> str:
    """What became of the files."""
    counted = (
        (result.added, "added"),
        (result.updated, "updated"),
        (result.unchanged, "unchanged"),
        (failed, "could not be read"),
    )
    told = ", ".join(f"{number:,} {what}" for number, what in counted if number)
    return f'<p class="report" role="status">{told or "Nothing to do"}, {result.seconds:.1f} s.</p>'


def made(collection: str, result: IngestReport, failed: int) -> str:
    """What became of files of which a collection was made."""
    return (
        f"{report(result, failed)}<p>The collection <strong>{_text(collection)}</strong> is made. "
        f'<a href="?collection={_text(collection)}">Open it</a></p>'
    )


def problem(message: str, hint: str) -> str:
    """What is wrong, and what to do."""
    return (
        f'<div class="error" role="alert"><h3>This did not work</h3><p>{_text(message)}</p>'
        f'<p class="hint">Try: {_text(hint)}</p></div>'
    )


def _notes(recognised: Recognised) -> str:
    notes = "".join(f'<p class="quiet">{_text(note)}</p>' for note in recognised.notes)
    if not recognised.failed:
        return notes
    complaints = "".join(f"<li>{_text(each)}</li>" for each in recognised.complaints)
    return (
        f"{notes}<details><summary>{recognised.failed:,} could not be read</summary>"
        f"<ul>{complaints}</ul></details>"
    )


def _collection(name: str, papers: int | None, shown: bool) -> str:
    told = _text(called(name))
    if papers is not None:
        told += f' <span class="quiet">{papers:,}</span>'
    if shown:
        return f'<span class="collection" aria-current="page">{told}</span>'
    address = _text("?" + urlencode({"collection": name}))
    return f'<a class="collection" href="{address}">{told}</a>'


def _row(paper: Paper) -> str:
    return (
        f'<li data-paper="{_text(paper.id)}"><input type="checkbox" '
        f'aria-label="Choose {_text(paper.title)}"><div><h3 dir="auto"><button type="button" '
        f'class="open-paper" aria-expanded="false">{typeset(paper.title)}</button></h3>'
        f'{byline(paper)}<div class="detail" hidden></div></div></li>'
    )


def _field(name: str, label: str, value: str) -> str:
    text = _text(value)
    if name in ("authors", "abstract"):
        lines = 8 if name == "abstract" else 2
        body = f'<textarea name="{name}" rows="{lines}">{text}</textarea>'
    else:
        required = " required" if name == "title" else ""
        body = f'<input name="{name}" value="{text}"{required}>'
    return f"<label>{label}{body}</label>"


def _text(text: str) -> str:
    return html.escape(text, quote=True)
