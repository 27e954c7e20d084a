"""Commands on papers and the index: ingest, search, and `assistant papers`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from assistant import console
from assistant.options import STORE, JsonFlag, configured

# No `from __future__ import annotations`: the options below are made of these annotations.
if TYPE_CHECKING:
    from assistant.settings import Settings
    from assistant.terminal import Terminal
    from vectorstore import Paper, PaperFormatError


papers_app = typer.Typer(
    help="Look at the papers of the index, or remove some.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@configured(*STORE)
def ingest(
    settings: "Settings",
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCES", help="Files or folders; - is standard input."),
    ] = None,
    seeds: Annotated[bool, typer.Option("--seeds", help="Take the bundled papers too.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove the papers that are not in SOURCES.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Throw the index away first, and build it anew.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Take papers into the index.

    SOURCES are JSON Lines, CSV, page dumps, or folders of such files.

    Papers that are there already and have not changed cost nothing. A bad record is reported
    with file, line and reason; the good ones are taken, and the exit code is 3.

    Examples:
      assistant ingest papers.jsonl more/
      assistant ingest --seeds
      zcat papers.jsonl.gz | assistant ingest -
      assistant ingest papers.jsonl --prune
    """
    from vectorstore.store import Store

    terminal = console.terminal()
    paths = _paper_sources(sources or [], seeds)
    papers, failures = _read_papers(paths, terminal)
    if prune and failures:
        # Their papers would count as gone.
        terminal.note(
            f"nothing is removed, since {console.counted(len(failures), 'record')} failed"
        )
    with (
        Store.create(settings.index, console.open_embedder(settings), rebuild=rebuild) as store,
        terminal.counting("ingesting", len(papers), "papers") as progress,
    ):
        report = store.ingest(papers, prune=prune and not failures, progress=progress)
    if as_json:
        errors = [{"path": f.path, "line": f.line, "reason": f.reason} for f in failures]
        console.print_json({**console.fields_of(report), "failed": errors})
    else:
        terminal.say(
            f"+{report.added} added  ~{report.updated} updated  ={report.unchanged} unchanged  "
            f"-{report.removed} removed  ({report.chunks} chunks, {report.seconds:.1f} s)"
        )
    if failures:
        terminal.note(f"{console.counted(len(failures), 'record')} failed", style="red")
        raise typer.Exit(console.EXIT_PARTLY)


@configured(*STORE)
def search(
    settings: "Settings",
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="- or nothing: standard input.")
    ] = None,
    top_k: Annotated[int, typer.Option("-k", "--top-k", min=1, max=1000, metavar="N")] = 8,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why each paper is where it is.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Find the papers closest to a query, without a model.

    Examples:
      assistant search "chest x-ray pretraining"
      assistant search "face editing" -k 3 --json
      assistant search "face editing" --explain
    """
    text = console.question_text(query, "search")
    with console.open_store(settings) as store:
        passages = store.search(text, top_k=top_k)
        words = [store.words_shared(text, each.paper) if explain else () for each in passages]
    if as_json:
        console.print_json([console.fields_of(passage) for passage in passages])
        return
    terminal = console.terminal()
    for passage, shared in zip(passages, words, strict=True):
        terminal.show_passage(passage)
        if explain:
            terminal.show_reasons(passage, shared)
    if not passages:
        terminal.note("nothing found")


@papers_app.command("list")
@configured(*STORE)
def list_papers(settings: "Settings", as_json: JsonFlag = False) -> None:
    """List the papers: id, year, title.

    Examples:
      assistant papers list
      assistant papers list --json | jq length
    """
    with console.open_store(settings) as store:
        papers = list(store.papers())
    if as_json:
        console.print_json([console.fields_of(paper) for paper in papers])
    else:
        rows = [(paper.id, str(paper.year or ""), paper.title) for paper in papers]
        console.terminal().table(("id", "year", "title"), rows)


@papers_app.command("show")
@configured(*STORE)
def show_paper(
    settings: "Settings",
    paper_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: JsonFlag = False,
) -> None:
    """Show a paper with its abstract.

    Example:
      assistant papers show attention-is-all-you-need
    """
    with console.open_store(settings) as store:
        paper = store.paper(paper_id)
    if as_json:
        console.print_json(console.fields_of(paper))
    else:
        console.terminal().show_paper(paper)


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


def _paper_sources(sources: Sequence[str], seeds: bool) -> list[str]:
    from assistant.resources import resource

    bundled = [str(resource("seeds/huggingface_papers.txt"))] if seeds else []
    if sources or bundled:
        return [*sources, *bundled]
    if sys.stdin.isatty():
        raise typer.BadParameter("give paper files or folders, - for standard input, or --seeds")
    return [console.STANDARD_INPUT]


def _read_papers(
    sources: Sequence[str], terminal: "Terminal"
) -> tuple[list["Paper"], list["PaperFormatError"]]:
    from vectorstore import PaperFormatError
    from vectorstore.papers import read_papers

    papers: list[Paper] = []
    failures: list[PaperFormatError] = []
    for record in read_papers(sources):
        if isinstance(record, PaperFormatError):
            failures.append(record)
            terminal.complain(str(record), record.hint)
        else:
            papers.append(record)
    if not papers:
        # Nothing is taken, and nothing pruned: an empty collection is never what was meant.
        raise (
            failures[-1]
            if failures
            else PaperFormatError(
                "holds no paper",
                path=", ".join(sources),
                line=None,
                hint="assistant ingest --help shows what can be read",
            )
        )
    return papers, failures
