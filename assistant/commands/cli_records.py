"""Commands on single papers: `assistant papers`."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assistant.commands import console
from assistant.commands.options import (
    STORE,
    AuthorOption,
    JsonFlag,
    VenueOption,
    WhereOption,
    YearOption,
    configured,
    filters_of,
)

# No `from __future__ import annotations`: the options below are made of these annotations.
if TYPE_CHECKING:
    from assistant.settings import Settings
    from vectorstore import Paper
    from vectorstore.filters import Filters
    from vectorstore.store import Store

PAGE = 50
"""Papers that are listed at a time where a person is watching."""

papers_app = typer.Typer(
    help="Look at the papers of the index, edit, export or remove some.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Id = Annotated[str, typer.Argument(metavar="ID")]


class Order(StrEnum):
    """What papers can be sorted by."""

    ADDED = "added"
    TITLE = "title"
    YEAR = "year"


class Format(StrEnum):
    """What papers can be exported to."""

    BIBTEX = "bibtex"
    CSL_JSON = "csl-json"
    JSONL = "jsonl"


_FORMAT_BY_SUFFIX = {".bib": Format.BIBTEX, ".bibtex": Format.BIBTEX, ".json": Format.CSL_JSON}


@papers_app.command("list")
@configured(*STORE)
def list_papers(
    settings: "Settings",
    match: Annotated[
        str | None,
        typer.Option("--match", metavar="WORDS", help="Only those that hold all of them."),
    ] = None,
    sort: Annotated[
        Order | None, typer.Option("--sort", help="Default: added; with --match, the best first.")
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help=f"Default: {PAGE} on a terminal, or all."),
    ] = None,
    offset: Annotated[
        int, typer.Option("--offset", min=0, metavar="N", help="Pass over so many.")
    ] = 0,
    year: YearOption = None,
    author: AuthorOption = None,
    venue: VenueOption = None,
    where: WhereOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List papers: id, year, title.

    Words match in any form, as in a search. Papers without a year come last.

    Examples:
      assistant papers list
      assistant papers list --match "chest x-rays" --limit 10
      assistant papers list --sort year --reverse --offset 50
      assistant papers list --year 2020.. --author Kim --where category=cs.CV
      assistant papers list --json | jq length
    """
    if match is not None and (sort or reverse):
        raise typer.BadParameter("--match puts the best first; give no --sort or --reverse")
    met = filters_of(year, author, venue, where)
    terminal = console.terminal()
    if limit is None and terminal.is_interactive and not as_json:
        limit = PAGE
    with console.open_store(settings) as store:
        total, papers = _selected(store, match, met, sort or Order.ADDED, reverse, limit, offset)
        if as_json:
            console.print_json_list(map(console.fields_of, papers))
            return
        rows = ((paper.id, str(paper.year or ""), paper.title) for paper in papers)
        terminal.table(("id", "year", "title"), rows)
    if limit is not None and offset + limit < total:
        last = offset + limit
        terminal.remark(f"{offset + 1} to {last} of {total:,}; the next: --offset {last}")
    elif not total:
        terminal.note("nothing found" if match or met else "there are no papers")


@papers_app.command("show")
@configured(*STORE)
def show_paper(settings: "Settings", paper_id: Id, as_json: JsonFlag = False) -> None:
    """Show a paper with its abstract.

    Example:
      assistant papers show attention-is-all-you-need
    """
    with console.open_store(settings) as store:
        paper = store.paper(paper_id)
    _show(paper, as_json=as_json)


@papers_app.command("edit")
@configured(*STORE)
def edit_paper(
    settings: "Settings",
    paper_id: Id,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Give a field a value; repeatable."),
    ] = None,
    removals: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="FIELD", help="Remove a field; repeatable."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Set or remove fields of a paper.

    Fields are those of an ingest: title, abstract, authors ("A. One; B. Two"), year, url, venue,
    doi, arxiv_id, code_url, video_url; any other name is that of metadata. A paper must stay such
    as an ingest would take it. It is embedded anew if its title or abstract changes.

    What was edited stays edited: an ingest that brings the paper again takes its other fields from
    the source, keeps these, and says so. They are listed as edited_fields.

    Examples:
      assistant papers edit attention-is-all-you-need --set year=2017 --set venue=NeurIPS
      assistant papers edit attention-is-all-you-need --set "authors=Ashish Vaswani; Noam Shazeer"
      assistant papers edit attention-is-all-you-need --unset code_url --set status=read
    """
    from vectorstore.sources.fields import FieldError

    pairs = [change.partition("=") for change in changes or []]
    wrong = next((name for name, equals, _ in pairs if not equals), None)
    if wrong is not None or not (pairs or removals):
        raise typer.BadParameter("say what to do: --set FIELD=VALUE or --unset FIELD")
    with console.open_store(settings) as store:
        try:
            values = {name.strip(): value for name, _, value in pairs}
            paper = store.edit(paper_id, values, [name.strip() for name in removals or []])
        except FieldError as error:
            raise typer.BadParameter(f"{error.reason} ({error.hint})") from error
    _show(paper, as_json=as_json)


@papers_app.command("remove")
@configured(*STORE)
def remove_papers(
    settings: "Settings",
    paper_ids: Annotated[list[str], typer.Argument(metavar="ID")],
    as_json: JsonFlag = False,
) -> None:
    """Remove papers from the index.

    Example:
      assistant papers remove attention-is-all-you-need
    """
    with console.open_store(settings) as store:
        removed = store.remove(paper_ids)
    if as_json:
        console.print_json({"removed": removed})
    else:
        console.terminal().say(f"-{removed} removed")


@papers_app.command("export")
@configured(*STORE)
def export_papers(
    settings: "Settings",
    paper_ids: Annotated[
        list[str] | None, typer.Argument(metavar="IDS", help="Default: all papers.")
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Default: by the name of the file, or jsonl."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="To be written.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write papers in a format that other programs read.

      bibtex    for LaTeX, signs escaped and formulas kept; ids become keys where they can
      csl-json  for Zotero, pandoc and word processors
      jsonl     every field of every paper; `assistant ingest` takes all of them back

    Examples:
      assistant papers export -o papers.bib
      assistant papers export attention-is-all-you-need --format csl-json
      assistant papers export --format jsonl | gzip > papers.jsonl.gz
    """
    from vectorstore.sources.exports import EXPORTERS

    if form is None:
        form = _FORMAT_BY_SUFFIX.get(file.suffix.lower() if file else "", Format.JSONL)
    if file is not None and file.exists() and not force:
        raise typer.BadParameter(f"{file} is there already; --force overwrites it")
    with console.open_store(settings) as store:
        if paper_ids:
            papers: Iterator[Paper] = iter([store.paper(each) for each in paper_ids])
        else:
            papers = store.papers()
        console.write_text(EXPORTERS[form](papers), file)


def _selected(
    store: "Store",
    match: str | None,
    where: "Filters | None",
    order: Order,
    reverse: bool,
    limit: int | None,
    offset: int,
) -> tuple[int, "Iterator[Paper]"]:
    """Count the papers that are meant, and yield those of the page."""
    if match is None:
        papers = store.listed(order, reverse=reverse, limit=limit, offset=offset, where=where)
        return store.count(where), papers
    most = len(store) if limit is None else offset + limit
    found: Sequence[Paper]
    found, total = store.holding(match.split(), max(1, most), where)
    return total, islice(found, offset, None)


def _show(paper: "Paper", *, as_json: bool) -> None:
    if as_json:
        console.print_json(console.fields_of(paper))
    else:
        console.terminal().show_paper(paper)
