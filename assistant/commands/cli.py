"""The command line: flags in, one call, its result out, an exit code.

Answers and results go to standard output, everything else to standard error. Nothing heavy is
imported before a command needs it, so that help is there at once.
"""

import logging
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperGroup

from assistant.commands import console
from assistant.commands.cli_check import check
from assistant.commands.cli_collections import collections_app
from assistant.commands.cli_engine import calibrate, evaluate, states_app, warm
from assistant.commands.cli_models import models_app
from assistant.commands.cli_papers import ingest, repair, search
from assistant.commands.cli_records import papers_app
from assistant.commands.cli_serve import mcp, serve
from assistant.commands.console import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_PARTLY, EXIT_PIPE
from assistant.commands.options import (
    ENGINE,
    AuthorOption,
    EngineOption,
    JsonFlag,
    VenueOption,
    WhereOption,
    WorkersOption,
    YearOption,
    configured,
    filters_of,
    keeping_lines,
)

# No `from __future__ import annotations`: the options below are made of these annotations.
if TYPE_CHECKING:
    from assistant.commands.ray_engine import Cluster
    from assistant.question_files.batch import Batch, BatchReport
    from assistant.settings import Settings

logger = logging.getLogger(__name__)

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
            console.terminal().note("interrupted")
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
app.command()(ingest)
app.command()(search)
app.command()(check)
app.command()(repair)
app.command()(warm)
app.command("eval")(evaluate)
app.command()(calibrate)
app.command()(serve)
app.command()(mcp)
app.add_typer(states_app, name="states")
app.add_typer(papers_app, name="papers")
app.add_typer(collections_app, name="collections")
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


# Questions


@app.command()
@configured(*ENGINE)
def ask(
    settings: "Settings",
    question: Annotated[
        str | None,
        typer.Argument(metavar="QUESTION", help="- or nothing: standard input."),
    ] = None,
    year: YearOption = None,
    author: AuthorOption = None,
    venue: VenueOption = None,
    where: WhereOption = None,
    as_json: JsonFlag = False,
    as_events: Annotated[
        bool,
        typer.Option("--events", help="Print each step as it comes, as JSON, a line each."),
    ] = False,
) -> None:
    """Answer a question, with a quotation for every sentence.

    If the papers do not hold the answer, it says so and names the closest ones; that is a result
    like any other, and the exit code is 0. Ctrl-C stops the model.

    Examples:
      assistant ask "Which datasets does BenchX compare on?"
      assistant ask "Which datasets does BenchX compare on?" --json | jq .citations
      assistant ask "Which datasets does BenchX compare on?" --events | jq -r .type
      assistant ask "How are faces edited?" --year 2023.. --author Kim --where category=cs.CV
      echo "What is a geometric map?" | assistant ask
    """
    from assistant.streaming.events import event_as_dict

    text = console.question_text(question, "ask")
    met = filters_of(year, author, venue, where)
    with console.open_assistant(settings) as assistant:
        if as_events:
            with assistant.stream(text, where=met) as events:
                for event in events:
                    console.print_json_line(event_as_dict(event))
        elif as_json:
            console.print_json(assistant.ask(text, where=met).as_dict())
        else:
            console.terminal().show_answer(lambda: assistant.stream(text, where=met))


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
    from assistant.commands.conversation import converse

    with console.open_assistant(settings) as assistant:
        assistant.preload()
        converse(assistant, console.terminal())


@app.command()
@configured(*ENGINE)
def batch(
    settings: "Settings",
    questions: Annotated[
        str,
        typer.Argument(
            metavar="QUESTIONS", help="A file (formats below), or - for standard input."
        ),
    ],
    answers: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="ANSWERS",
            help="A .jsonl, .csv, .xlsx, .parquet, .md or .html file.",
        ),
    ],
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on even if questions were changed; lets their answers go."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the answers of an earlier run.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="HTML", help="What became of the questions, in charts."),
    ] = None,
    engine: EngineOption = console.LOCAL_ENGINE,
    workers: WorkersOption = None,
) -> None:
    """Answer the questions of a file.

    One question a line (.txt), a Markdown list (.md), or a column `question` (.csv, .tsv, .xlsx,
    .jsonl, .parquet; all other columns are kept). Rows may choose the papers that are asked, by
    `collection`, `year`, `author`, `venue`, `where` (as the options of `assistant ask`) and
    `only_papers` (ids). A question that fails becomes a row of status "error"; the others are
    answered, and the exit code is 3.

    Every answer is safe on the disk as soon as it is there. After a kill, or when the file of
    questions has grown, give the same command again: it asks only what is missing and what failed.

    --report writes one HTML file: status, latency, the papers most used, the slowest questions.
    With columns `expected`, `papers` or `facts` (see `assistant eval`) it says how many answers
    are right.

    --engine ray asks with several workers on this machine, --engine ray:ADDRESS with those of a
    Ray cluster (docs/ray.md). A run may go on with another engine than it was begun with.

    Examples:
      assistant batch questions.txt -o answers.html
      assistant batch questions.xlsx -o answers.xlsx --report report.html
      grep '?$' notes.txt | assistant batch - -o answers.jsonl
      assistant batch questions.jsonl -o answers.jsonl --engine ray:auto
    """
    from assistant.question_files.batch import prepare_batch

    if resume and force:
        raise typer.BadParameter("--resume keeps the answers that --force throws away; give one")
    if report is not None and not report.resolve().parent.is_dir():
        raise typer.BadParameter(f"no such folder: {report.parent}")
    with (
        prepare_batch(questions, answers, resume=resume, force=force) as prepared,
        console.open_cluster(
            engine if prepared.pending else console.LOCAL_ENGINE,
            workers if prepared.pending else None,
        ) as cluster,
    ):
        done = _run_batch(prepared, settings, answers, report, cluster)
    if done.failed:
        raise typer.Exit(EXIT_PARTLY)


# Health


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
        console.print_json([console.fields_of(finding) for finding in findings])
    else:
        for finding in findings:
            console.terminal().show_finding(
                finding.level, finding.topic, finding.message, finding.hint
            )
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(EXIT_ERROR)


# What the commands share


def _run_batch(
    prepared: "Batch",
    settings: "Settings",
    answers: Path,
    report: Path | None,
    cluster: "Cluster | None",
) -> "BatchReport":
    from assistant.commands.terminal import batch_counts
    from assistant.quality.run_report import write_report

    terminal = console.terminal()
    title = f"Run of {answers.name}"
    try:
        with console.Assistants(settings) as assistants:
            if prepared.pending:
                assistants("")  # what is missing is said before the first question
            with terminal.answering(prepared.report.total) as progress:
                done = prepared.run(
                    assistants,
                    progress=progress,
                    # On many workers, to order the questions would take longer than it saves.
                    nearest=assistants.nearest if cluster is None else None,
                    report=write_report(report, title) if report else None,
                    workers=cluster.answering(settings) if cluster else None,
                )
    except KeyboardInterrupt:
        so_far, total = prepared.report.done, prepared.report.total
        terminal.note(
            f"{so_far} of {total} questions are done and kept; "
            "to go on, give the same command again",
            style="",
        )
        raise
    terminal.note(f"{answers}: {batch_counts(done)}, in {done.seconds:.1f} s", style="")
    if report is not None:
        terminal.note(f"report: {report}")
    return done


def _complain(error: Exception) -> int:
    """Say what is wrong and what to do about it; return the exit code."""
    from assistant.errors import USER_ERRORS

    terminal = console.terminal()
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
