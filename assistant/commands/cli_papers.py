"""Commands on papers and the index: ingest and search."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from assistant.commands import console
from assistant.commands.options import (
    STORE,
    AuthorOption,
    EngineOption,
    JsonFlag,
    VenueOption,
    WhereOption,
    WorkersOption,
    YearOption,
    configured,
    filters_of,
)

# No `from __future__ import annotations`: the options below are made of these annotations.
if TYPE_CHECKING:
    from assistant.commands.ray_engine import Cluster
    from assistant.commands.terminal import Terminal
    from assistant.intake import Intake
    from assistant.settings import Settings
    from vectorstore import Difference, IngestReport


@configured(*STORE)
def ingest(
    settings: "Settings",
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCES", help="Files or folders; - is standard input."),
    ] = None,
    seeds: Annotated[bool, typer.Option("--seeds", help="Take the bundled papers too.")] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="FIELD=COLUMN", help="Which column holds a field; may be repeated."
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove the papers that are not in SOURCES.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Throw the index away first, and build it anew.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    discard_edits: Annotated[
        bool,
        typer.Option("--discard-edits", help="Take SOURCES also where a paper was edited here."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write all failures and duplicates there."),
    ] = None,
    engine: EngineOption = console.LOCAL_ENGINE,
    workers: WorkersOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Take papers into the index.

    SOURCES are files, or folders of them, as they are or packed (.gz, .zst). Formats:

      .jsonl .ndjson .json   JSON, also CSL-JSON and the arXiv snapshot
      .csv .tsv              with a header; also Zotero's export
      .parquet .arrow        also .feather; datasets of the Hugging Face Hub
      .bib .bibtex           BibTeX
      .ris                   RIS
      .nbib .medline         PubMed's text format
      .xml                   arXiv API, OAI-PMH, PubMed
      .txt                   page dumps of Hugging Face Papers, or PubMed's text format

    A file of another name, and standard input, is told by its beginning. Columns are found by their
    usual names; what was guessed is shown, and --map changes it.

    Papers that are there already and have not changed cost nothing. A bad record is reported
    with file, line and reason; the good ones are taken, and the exit code is 3.

    Two records are of one paper if they have the same DOI, or the same arXiv id whatever the
    version, or the same title, first author and year. Of one run, the one that is read first is
    kept; so put the file with the newest versions first. One that is in the index under another id
    is not added, unless it is a later arXiv version: that takes the other's place. All of them are
    reported; duplicates are no failures.

    What `assistant papers edit` has changed stays so: of such a paper all other fields are taken
    from SOURCES, and the number of such papers is told. --discard-edits takes it as it is there;
    --prune removes it like any other, and --rebuild forgets all edits.

    --engine ray embeds with several workers on this machine, --engine ray:ADDRESS with those of a
    Ray cluster (docs/ray.md); the index becomes the same.

    Examples:
      assistant ingest papers.jsonl more/
      assistant ingest --seeds
      assistant ingest library.bib pubmed.nbib.gz --dry-run
      assistant ingest papers.csv --map abstract=summary --map year=date
      zcat export.ris.gz | assistant ingest -
      assistant ingest papers.jsonl --prune
      assistant ingest papers.jsonl --engine ray --workers 8
      assistant ingest papers.jsonl --engine ray:auto
    """
    from contextlib import ExitStack

    from assistant.intake import Intake

    terminal = console.terminal()
    paths = _paper_sources(sources or [], seeds)
    with ExitStack() as stack:
        file = stack.enter_context(_open_report(report, paths)) if report else None
        intake = Intake(paths, _columns(columns or []), terminal, report=file, keep=as_json)
        done: Difference | IngestReport
        if dry_run:
            done = _compare(
                settings, intake, terminal, rebuild=rebuild, keep_edits=not discard_edits
            )
        else:
            done = _ingest(
                settings,
                intake,
                terminal,
                prune=prune,
                rebuild=rebuild,
                keep_edits=not discard_edits,
                cluster=stack.enter_context(console.open_cluster(engine, workers)),
            )
    intake.say_what_was_left_out()
    if prune and intake.failed:
        # Their papers would count as gone.
        terminal.note(
            f"nothing is removed, since {console.counted(intake.failed, 'record')} failed"
        )
    if as_json:
        errors = [
            {"path": each.path, "line": each.line, "record": each.record, "reason": each.reason}
            for each in intake.errors
        ]
        counts = {
            "duplicates": intake.duplicates,
            "replaced": intake.replaced,
            "failed": errors,
        }
        console.print_json({**console.fields_of(done), **counts})
    else:
        terminal.say(_summary(done, prune=prune and not intake.failed))
    if done.edited:
        keeping = f"{console.counted(done.edited, 'paper')} edited here: those fields are kept"
        terminal.note(f"{keeping} (--discard-edits to take them from the source)")
    if intake.duplicates:
        terminal.note(console.counted(intake.duplicates, "duplicate"))
    if intake.replaced:
        terminal.note(f"{console.counted(intake.replaced, 'earlier version')} replaced")
    if intake.failed:
        terminal.note(f"{console.counted(intake.failed, 'record')} failed", style="red")
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
    year: YearOption = None,
    author: AuthorOption = None,
    venue: VenueOption = None,
    where: WhereOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Find the papers closest to a query, without a model.

    Only papers that meet all of the filters are found. --where compares any field of the metadata
    that the paper file had, as `assistant papers show ID --json` shows it.

    Examples:
      assistant search "chest x-ray pretraining"
      assistant search "face editing" -k 3 --json
      assistant search "face editing" --explain
      assistant search "face editing" --year 2023.. --author "Seung Hyun Lee"
      assistant search "protein folding" --venue Nature --where "upvotes>=50"
    """
    text = console.question_text(query, "search")
    met = filters_of(year, author, venue, where)
    with console.open_store(settings) as store:
        passages = store.search(text, top_k, met)
        words = [store.words_shared(text, each.paper) if explain else () for each in passages]
        met_by = store.count(met)
    if as_json:
        console.print_json([console.fields_of(passage) for passage in passages])
        return
    terminal = console.terminal()
    for passage, shared in zip(passages, words, strict=True):
        terminal.show_passage(passage)
        if explain:
            terminal.show_reasons(passage, shared)
    if not passages:
        terminal.note("nothing found" if met_by else "no paper meets the filters")


@configured(*STORE)
def repair(settings: "Settings", as_json: JsonFlag = False) -> None:
    """Mend the index: all of its parts are made to agree with the papers themselves.

    What an interrupted ingest left half-written is completed; a damaged or missing lexical index
    and damaged or missing vectors are made anew, and nothing else. An index of another embedding
    model or of an older version of the program is built anew from its own papers. `assistant
    doctor --full` compares every paper with every part and proves that they agree.

    Example:
      assistant repair
    """
    terminal = console.terminal()
    with terminal.counting("repairing", None, "papers") as progress:
        done = settings.place.repair(console.open_embedder(settings), progress)
    if as_json:
        console.print_json({"done": done})
    else:
        for each in done or ["nothing was wrong"]:
            terminal.say(each)


def _paper_sources(sources: Sequence[str], seeds: bool) -> list[str]:
    from assistant.resources import resource

    bundled = [str(resource("seeds/huggingface_papers.txt"))] if seeds else []
    if sources or bundled:
        return [*sources, *bundled]
    if sys.stdin.isatty():
        raise typer.BadParameter("give paper files or folders, - for standard input, or --seeds")
    return [console.STANDARD_INPUT]


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    """Read FIELD=COLUMN as given on the command line."""
    from vectorstore.sources.columns import FIELDS

    columns: dict[str, str] = {}
    for pair in pairs:
        field, equals, column = (part.strip() for part in pair.partition("="))
        if field not in FIELDS or not equals or not column:
            raise typer.BadParameter(
                f"{pair!r} is not FIELD=COLUMN; the fields are {', '.join(FIELDS)}",
                param_hint="--map",
            )
        columns[field] = column
    return columns


def _open_report(path: Path, sources: Sequence[str]) -> TextIO:
    target = path.resolve()
    for source in sources:
        if source != console.STANDARD_INPUT and target.is_relative_to(Path(source).resolve()):
            raise typer.BadParameter(
                f"{path} is in {source} and would be read as papers; choose another place",
                param_hint="--report",
            )
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(
            f"{path} cannot be written ({(error.strerror or str(error)).lower()})",
            param_hint="--report",
        ) from error


def _ingest(
    settings: "Settings",
    intake: "Intake",
    terminal: "Terminal",
    *,
    prune: bool,
    rebuild: bool,
    keep_edits: bool,
    cluster: "Cluster | None",
) -> "IngestReport":
    from vectorstore.ahead import EmbeddedAhead

    # Before the index is touched: without a single paper nothing is to happen to it.
    papers = intake.papers()
    with (
        settings.place.create(console.open_embedder(settings), rebuild=rebuild) as store,
        terminal.counting("ingesting", None, "papers") as progress,
    ):
        ahead = EmbeddedAhead(store, cluster.embedding(settings)) if cluster else None
        return store.ingest(
            ahead.papers(papers) if ahead else papers,
            vectors=ahead.known if ahead else None,
            prune=lambda: prune and not intake.failed,
            progress=progress,
            keep_edits=keep_edits,
            on_duplicate=intake.take_down_indexed,
        )


def _compare(
    settings: "Settings",
    intake: "Intake",
    terminal: "Terminal",
    *,
    rebuild: bool,
    keep_edits: bool,
) -> "Difference":
    from assistant.settings import EMBEDDING_MODEL
    from vectorstore import Difference
    from vectorstore.embedding import MiniLMEmbedder

    papers = intake.papers()
    with terminal.stage("comparing"):
        if rebuild:
            return Difference(sum(1 for _ in papers), 0, 0, 0)
        # Named, not loaded: comparing needs no model.
        embedder = MiniLMEmbedder(settings.models_dir / EMBEDDING_MODEL)
        return settings.place.difference(
            embedder, papers, keep_edits=keep_edits, on_duplicate=intake.take_down_indexed
        )


def _summary(done: "IngestReport | Difference", *, prune: bool) -> str:
    from vectorstore import IngestReport

    counts = f"+{done.added} added  ~{done.updated} updated  ={done.unchanged} unchanged"
    removed = f"-{done.removed} removed"
    if isinstance(done, IngestReport):
        return f"{counts}  {removed}  ({done.chunks} chunks, {done.seconds:.1f} s)"
    return f"{counts}  {removed if prune else f'(-{done.removed} with --prune)'}"
