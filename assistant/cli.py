"""The command line: flags in, one call, its result out, an exit code.

Answers and results go to standard output, everything else to standard error. Nothing heavy is
imported before a command needs it, so that help is there at once.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperGroup

from assistant.options import ENGINE, STORE, JsonFlag, configured, keeping_lines

# No `from __future__ import annotations`: the options below are made of these annotations.
if TYPE_CHECKING:
    from assistant.batch import Batch, BatchReport
    from assistant.pipeline import Assistant
    from assistant.settings import Settings
    from assistant.terminal import Terminal
    from vectorstore import Embedder, Paper, PaperFormatError
    from vectorstore.store import Store

logger = logging.getLogger(__name__)

STANDARD_INPUT = "-"
MAX_STDIN_BYTES = 1_000_000
"""More than any question that can be asked; what is longer is refused before it is all read."""

EXIT_ERROR, EXIT_PARTLY, EXIT_INTERRUPTED, EXIT_PIPE = 1, 3, 130, 141

_HELP = """Ask questions of a collection of paper abstracts; every sentence of an answer is backed
by a quotation. Everything runs on this machine.

Examples:
  assistant ask "Which datasets does BenchX compare on?"
  assistant ingest papers.jsonl
  assistant chat
  assistant batch questions.csv -o answers.jsonl
  assistant serve --open

Exit codes:
  0    done; an abstention is a result, so `ask` ends with 0 then too
  1    error: a message and a hint are on standard error
  2    usage: an unknown option, a missing argument
  3    finished, but some records, questions or models failed
  130  interrupted
  141  the program that read the output is gone

Settings: flags come first, then ASSISTANT_<NAME> in the environment (such as
ASSISTANT_MODEL), then assistant.toml.
"""


class _Edge(TyperGroup):
    """The one place where errors become messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except BrokenPipeError as error:
            _discard_output()
            raise typer.Exit(EXIT_PIPE) from error
        except KeyboardInterrupt as error:
            _terminal().note("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from error
        except Exception as error:
            raise typer.Exit(_complain(error)) from error


app = typer.Typer(
    cls=_Edge,
    help=keeping_lines(_HELP),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
papers_app = typer.Typer(
    help="Look at the papers of the index, or remove some.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
models_app = typer.Typer(
    help="Look at the models, fetch them, check them.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(papers_app, name="papers")
app.add_typer(models_app, name="models")


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        version = metadata.version("abstract-assistant")
    except metadata.PackageNotFoundError:  # run from its sources
        version = "(not installed)"
    print(f"abstract-assistant {version}")
    raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and exit."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        # Whoever starts a program may have closed its streams.
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows no umlauts gets an escape, not an end with an error.
        cast(Any, stream).reconfigure(errors="backslashreplace")
    try:
        app(prog_name="assistant")
    except OSError as error:  # not even the help could be printed
        sys.exit(_complain(error))
    finally:
        _flush()


# Papers and the index


@app.command()
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

    terminal = _terminal()
    paths = _paper_sources(sources or [], seeds)
    papers, failures = _read_papers(paths, terminal)
    if prune and failures:
        # Their papers would count as gone.
        terminal.note(f"nothing is removed, since {_count(len(failures), 'record')} failed")
    with (
        Store.create(settings.index, open_embedder(settings), rebuild=rebuild) as store,
        terminal.counting("ingesting", len(papers), "papers") as progress,
    ):
        report = store.ingest(papers, prune=prune and not failures, progress=progress)
    if as_json:
        errors = [{"path": f.path, "line": f.line, "reason": f.reason} for f in failures]
        _print_json({**_fields(report), "failed": errors})
    else:
        terminal.say(
            f"+{report.added} added  ~{report.updated} updated  ={report.unchanged} unchanged  "
            f"-{report.removed} removed  ({report.chunks} chunks, {report.seconds:.1f} s)"
        )
    if failures:
        terminal.note(f"{_count(len(failures), 'record')} failed", style="red")
        raise typer.Exit(EXIT_PARTLY)


@app.command()
@configured(*STORE)
def search(
    settings: "Settings",
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="- or nothing: standard input.")
    ] = None,
    top_k: Annotated[int, typer.Option("-k", "--top-k", min=1, max=1000, metavar="N")] = 8,
    as_json: JsonFlag = False,
) -> None:
    """Find the papers closest to a query, without a model.

    Examples:
      assistant search "chest x-ray pretraining"
      assistant search "face editing" -k 3 --json
    """
    text = _question(query, "search")
    with _open_store(settings) as store:
        passages = store.search(text, top_k=top_k)
    if as_json:
        _print_json([_fields(passage) for passage in passages])
        return
    terminal = _terminal()
    for passage in passages:
        terminal.show_passage(passage)
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
    with _open_store(settings) as store:
        papers = list(store.papers())
    if as_json:
        _print_json([_fields(paper) for paper in papers])
    else:
        rows = [(paper.id, str(paper.year or ""), paper.title) for paper in papers]
        _terminal().table(("id", "year", "title"), rows)


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
    with _open_store(settings) as store:
        paper = store.paper(paper_id)
    if as_json:
        _print_json(_fields(paper))
    else:
        _terminal().show_paper(paper)


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
    with _open_store(settings) as store:
        removed = store.remove(paper_ids)
    if as_json:
        _print_json({"removed": removed})
    else:
        _terminal().say(f"-{removed} removed")


# Questions


@app.command()
@configured(*ENGINE)
def ask(
    settings: "Settings",
    question: Annotated[
        str | None,
        typer.Argument(metavar="QUESTION", help="- or nothing: standard input."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Answer a question, with a quotation for every sentence.

    If the papers do not hold the answer, it says so and names the closest ones; that is a result
    like any other, and the exit code is 0. Ctrl-C stops the model.

    Examples:
      assistant ask "Which datasets does BenchX compare on?"
      assistant ask "Which datasets does BenchX compare on?" --json | jq .citations
      echo "What is a geometric map?" | assistant ask
    """
    text = _question(question, "ask")
    with open_assistant(settings) as assistant:
        if as_json:
            _print_json(assistant.ask(text).as_dict())
        else:
            _terminal().show_answer(lambda: assistant.stream(text))


@app.command()
@configured(*ENGINE)
def chat(settings: "Settings") -> None:
    """Ask one question after the other.

    A follow-up may refer to what was asked before. Ctrl-C stops an answer; at the prompt it ends
    the conversation.

    Commands:
      /sources  the papers of the last answer, with their abstracts
      /new      forget what was asked before
      /quit     end

    Example:
      assistant chat
    """
    from assistant.conversation import converse

    with open_assistant(settings) as assistant:
        assistant.preload()
        converse(assistant, _terminal())


@app.command()
@configured(*ENGINE)
def batch(
    settings: "Settings",
    questions: Annotated[
        str, typer.Argument(metavar="QUESTIONS", help="A .txt, .csv, .tsv or .jsonl file, or -.")
    ],
    answers: Annotated[
        Path, typer.Option("-o", "--output", metavar="ANSWERS", help="A .jsonl, .csv or .md file.")
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was interrupted.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the answers of an earlier run.")
    ] = False,
) -> None:
    """Answer the questions of a file.

    One question a line (.txt), a column `question` (.csv, .tsv; other columns are kept), or
    objects with `question` and, if you like, `id` and `history`, a list of earlier questions
    (.jsonl). A question that fails becomes a row of status "error"; the others are answered, and
    the exit code is 3.

    Every answer is safe on the disk as soon as it is there, in ANSWERS.partial.jsonl; --resume
    asks only what is missing and what failed.

    Examples:
      assistant batch questions.txt -o answers.md
      assistant batch questions.csv -o answers.csv
      assistant batch questions.jsonl -o answers.jsonl --resume
    """
    from assistant.batch import prepare_batch

    if resume and force:
        raise typer.BadParameter("--resume keeps the answers that --force throws away; give one")
    prepared = prepare_batch(questions, answers, resume=resume, force=force)
    report = _run_batch(prepared, settings, answers)
    if report.failed:
        raise typer.Exit(EXIT_PARTLY)


@app.command()
@configured(*ENGINE)
def serve(
    settings: "Settings",
    host: Annotated[
        str, typer.Option(help="Anything but the default can be reached from other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The next free one is taken.")] = 7860,
    open_browser: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Open the chat page, on this machine alone.

    Examples:
      assistant serve --open
      assistant serve --port 8000
    """
    from assistant.web import serve as serve_page

    with open_assistant(settings) as assistant:
        assistant.preload()
        assistant.read_ahead()
        serve_page(assistant, host=host, port=port, open_browser=open_browser, announce=_announce)


# Models and health


@models_app.command("list")
@configured("model")
def list_models(settings: "Settings", as_json: JsonFlag = False) -> None:
    """List the models that are known by name or here.

    Example:
      assistant models list
    """
    from assistant.models import catalogue, installed

    here = {model.name: model for model in installed(settings.models_dir)}
    known = catalogue()
    rows = [
        {
            "name": name,
            "role": known[name].role if name in known else "language",
            "bytes": known[name].bytes if name in known else here[name].bytes,
            "memory_bytes": known[name].memory_bytes if name in known else None,
            "licence": known[name].licence if name in known else None,
            "installed": name in here,
            "path": str(here[name].path) if name in here else None,
            "selected": name == settings.model,
            "summary": known[name].summary if name in known else "",
        }
        for name in dict.fromkeys([*known, *here])
    ]
    if as_json:
        _print_json(rows)
        return
    header = ("", "name", "role", "size", "memory", "licence", "what")
    _terminal().table(header, [_model_cells(row) for row in rows])


@models_app.command("pull")
@configured("model", "offline")
def pull_models(
    settings: "Settings",
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Default: those that the settings need."),
    ] = None,
) -> None:
    """Fetch models, and check every byte.

    What was interrupted goes on where it stopped.

    Examples:
      assistant models pull
      assistant models pull qwen2.5-coder-0.5b-instruct-q4_k_m
      assistant models pull hf:owner/repo/file.gguf
    """
    from assistant.models import pull

    terminal = _terminal()
    for name in names or _needed_models(settings):
        with terminal.fetching(name) as progress:
            path = pull(name, settings.models_dir, progress=progress, offline=settings.offline)
        terminal.say(str(path))


@models_app.command("path")
@configured()
def model_path(settings: "Settings", name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Print where a model is on this disk.

    Example:
      assistant models path qwen2.5-coder-1.5b-instruct-q4_k_m
    """
    from assistant.models import resolve

    _terminal().say(str(resolve(name, settings.models_dir)))


@models_app.command("verify")
@configured()
def verify_models(
    settings: "Settings",
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Default: all that are on this disk."),
    ] = None,
) -> None:
    """Hash models and compare them with what was promised.

    The exit code is 3 if one is damaged.

    Example:
      assistant models verify
    """
    from assistant.errors import ModelError
    from assistant.models import installed, verify

    terminal, failed = _terminal(), False
    for name in names or [model.name for model in installed(settings.models_dir)]:
        try:
            with terminal.stage(f"hashing {name}"):
                hashes = verify(name, settings.models_dir)
        except ModelError as error:
            terminal.complain(str(error), error.hint)
            failed = True
            continue
        for file, digest in hashes.items():
            terminal.say(f"ok  {name}  {file}  {digest}")
    if failed:
        raise typer.Exit(EXIT_PARTLY)


@app.command()
@configured(*ENGINE)
def doctor(
    settings: "Settings",
    full: Annotated[bool, typer.Option("--full", help="Hash the models, and run one.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check this installation.

    Processor, GPU, models, index, and the hosts that the program may talk to. The exit code is 1
    if something is broken.

    Examples:
      assistant doctor
      assistant doctor --full --json
    """
    from assistant.doctor import examine

    findings = examine(settings, full=full)
    if as_json:
        _print_json([_fields(finding) for finding in findings])
    else:
        for finding in findings:
            _terminal().show_finding(finding.level, finding.topic, finding.message, finding.hint)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(EXIT_ERROR)


# What the commands share


def _terminal() -> "Terminal":
    from assistant.terminal import Terminal

    return Terminal()


@contextmanager
def open_assistant(settings: "Settings") -> Iterator["Assistant"]:
    """An assistant with everything that it needs; the first run fetches and builds that."""
    from assistant.pipeline import Assistant
    from assistant.setup import ensure_ready

    ensure_ready(settings, _terminal())
    with Assistant(settings) as assistant:
        yield assistant


def open_embedder(settings: "Settings") -> "Embedder":
    """The embedding model, fetched if it is missing."""
    from assistant.errors import ModelMissingError
    from assistant.models import pull, resolve
    from assistant.settings import EMBEDDING_MODEL
    from vectorstore.embedding import MiniLMEmbedder

    try:
        folder = resolve(EMBEDDING_MODEL, settings.models_dir)
    except ModelMissingError:
        with _terminal().fetching(EMBEDDING_MODEL) as progress:
            folder = pull(
                EMBEDDING_MODEL, settings.models_dir, progress=progress, offline=settings.offline
            )
    return MiniLMEmbedder(folder)


def _open_store(settings: "Settings") -> "Store":
    from vectorstore.store import Store

    return Store.open(settings.index, open_embedder(settings))


def _announce(line: str) -> None:
    _terminal().note(line)


def _paper_sources(sources: Sequence[str], seeds: bool) -> list[str]:
    from assistant.resources import resource

    bundled = [str(resource("seeds/huggingface_papers.txt"))] if seeds else []
    if sources or bundled:
        return [*sources, *bundled]
    if sys.stdin.isatty():
        raise typer.BadParameter("give paper files or folders, - for standard input, or --seeds")
    return [STANDARD_INPUT]


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


def _question(argument: str | None, command: str) -> str:
    """The text of a question, from the argument or standard input.

    Raises:
        QuestionError: It is empty or not UTF-8.
    """
    from assistant.errors import QuestionError

    if argument is None and sys.stdin.isatty():
        raise typer.BadParameter(f'give a question: assistant {command} "..."')
    try:
        if argument is None or argument == STANDARD_INPUT:
            text = _read_stdin().decode("utf-8-sig")
        else:
            # What was not UTF-8 on the command line arrives as lone surrogates.
            text = argument.encode().decode()
    except UnicodeError as error:
        raise QuestionError(
            "the question is not UTF-8", hint=f"iconv -f latin1 -t utf-8 | assistant {command} -"
        ) from error
    if not text.strip():
        raise QuestionError("the question is empty", hint=f'assistant {command} "What is ...?"')
    return text.strip()


def _read_stdin() -> bytes:
    from assistant.errors import QuestionError

    data = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
    if len(data) > MAX_STDIN_BYTES:
        raise QuestionError(
            f"standard input holds more than {MAX_STDIN_BYTES:,} bytes, which is no question",
            hint="for a file of questions: assistant batch FILE -o ANSWERS",
        )
    return data


def _run_batch(prepared: "Batch", settings: "Settings", answers: Path) -> "BatchReport":
    from assistant.terminal import batch_counts

    terminal = _terminal()
    try:
        if prepared.pending:
            with (
                open_assistant(settings) as assistant,
                terminal.answering(prepared.report.total) as progress,
            ):
                report = prepared.run(assistant, progress=progress)
        else:
            report = prepared.run(None)
    except KeyboardInterrupt:
        done, total = prepared.report.done, prepared.report.total
        terminal.note(
            f"{done} of {total} questions are done and kept; "
            "to go on, give the same command with --resume",
            style="",
        )
        raise
    terminal.note(f"{answers}: {batch_counts(report)}, in {report.seconds:.1f} s", style="")
    return report


def _needed_models(settings: "Settings") -> list[str]:
    from assistant.models import HUB_PREFIX, catalogue
    from assistant.settings import EMBEDDING_MODEL

    # A model that is given as a file is there already.
    fetched = settings.model in catalogue() or settings.model.startswith(HUB_PREFIX)
    return [settings.model, EMBEDDING_MODEL] if fetched else [EMBEDDING_MODEL]


def _model_cells(row: Mapping[str, Any]) -> list[str]:
    here = "*" if row["selected"] else "+" if row["installed"] else ""
    memory = "" if row["memory_bytes"] is None else _gigabytes(row["memory_bytes"])
    size = _gigabytes(row["bytes"])
    return [here, row["name"], row["role"], size, memory, row["licence"] or "", row["summary"]]


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _fields(record: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(record)


def _print_json(value: Any) -> None:
    """One line for a program, indented for a person."""
    from assistant.escaping import json_text

    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    print(json_text(value, indent=2 if sys.stdout.isatty() else None, ascii_only=ascii_only))


def _complain(error: Exception) -> int:
    """Say what is wrong and what to do about it; return the exit code."""
    from assistant.errors import USER_ERRORS

    terminal = _terminal()
    logger.debug("the command failed", exc_info=error)
    if isinstance(error, USER_ERRORS):
        terminal.complain(str(error), error.hint)
    elif isinstance(error, OSError):
        terminal.complain(str(error))
    else:
        terminal.complain(
            f"unexpected: {type(error).__name__}: {error}",
            "run it again with -vv, and report what it prints",
        )
    return EXIT_ERROR


def _flush() -> None:
    try:
        sys.stdout.flush()
    except OSError:  # said before, or there is nobody to say it to
        _discard_output()


def _discard_output() -> None:
    """Point the output to nowhere: the interpreter flushes it once more as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
