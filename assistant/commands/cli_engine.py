"""Commands on the engine itself: read papers ahead, look at what is kept, measure the answers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assistant.commands import console
from assistant.commands.options import ENGINE, JsonFlag, configured

# No `from __future__ import annotations`: the options below are made of these annotations.
if TYPE_CHECKING:
    from collections.abc import Sequence

    from assistant.quality.evaluation import Verdict
    from assistant.settings import Settings
    from vectorstore import Paper

QUERY_PAPERS = 20


@configured(*ENGINE)
def warm(
    settings: "Settings",
    query: Annotated[
        str | None,
        typer.Option("--query", metavar="Q", help=f"The {QUERY_PAPERS} papers closest to this."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every paper; the default.")] = False,
) -> None:
    """Let the model read papers ahead, so that questions need not wait for it.

    What was read is kept on disk, under the cap of the setting states_gigabytes. Ctrl-C stops it;
    given again, it goes on with the papers that are left.

    Examples:
      assistant warm
      assistant warm --query "machine unlearning"
    """
    if query and every:
        raise typer.BadParameter("give --query or --all, not both")
    terminal = console.terminal()
    with console.open_assistant(settings) as assistant:
        if query:
            papers = [passage.paper for passage in assistant.search(query, QUERY_PAPERS)]
        else:
            papers = list(assistant.store.papers())
        with terminal.counting("reading", len(papers), "papers") as progress:
            read = assistant.warm(papers, progress=progress)
    terminal.say(f"{read} of {console.counted(len(papers), 'paper')} are read")
    if read < len(papers):
        terminal.note("there is no room for more; raise the setting states_gigabytes")


states_app = typer.Typer(
    help="""Look at the papers as the model has read them, or remove them.

    Example:
      assistant states show""",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@states_app.command("show")
@configured()
def show_states(settings: "Settings", as_json: JsonFlag = False) -> None:
    """Show how much is kept, and how often it was of use.

    Example:
      assistant states show
    """
    from assistant.llm.states import state_folders

    folders = state_folders(settings.states_dir)
    if as_json:
        rows = [{**console.fields_of(folder), "path": str(folder.path)} for folder in folders]
        console.print_json(rows)
        return
    cells = [
        (
            folder.path.name,
            str(folder.papers),
            f"{folder.bytes / 1e9:.2f} GB",
            str(folder.hits),
            str(folder.misses),
        )
        for folder in folders
    ]
    console.terminal().table(("model and prompt", "papers", "size", "hits", "misses"), cells)


@states_app.command("clear")
@configured()
def clear(settings: "Settings") -> None:
    """Remove what is kept; papers are read again when they are asked.

    Example:
      assistant states clear
    """
    from assistant.llm.states import clear_states

    console.terminal().say(f"{clear_states(settings.states_dir) / 1e9:.2f} GB freed")


@configured(*ENGINE)
def evaluate(
    settings: "Settings",
    questions: Annotated[
        str | None, typer.Argument(metavar="QUESTIONS", help="A .jsonl file.")
    ] = None,
    retrieval: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="QUERIES QRELS", help="Measure the search alone."),
    ] = None,
    claims: Annotated[
        Path | None, typer.Option(metavar="CLAIMS", help="Measure the sentence check alone.")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where the answers go.")
    ] = Path("evaluation"),
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="plain", help="Ask the plain pipeline too.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an earlier run.")] = False,
) -> None:
    """Measure the answers to a file of questions whose papers and facts are known.

    Rows hold `question` and, beside it, `kind` (single, multi, followup, adversarial, count,
    unanswerable), `papers` (titles that a right answer cites; or `any_of`, a list of such lists),
    `also` (titles that it may cite), `facts` (groups of strings, one of each must occur), `wrong`
    (strings that it must not show as fact), `answer` (the reference, shown beside ours), `note`
    and `history`. The answers, and why each counts as right or wrong, go into FOLDER.

    --retrieval takes queries and judgements in the layout of BEIR instead (JSON Lines with `_id`
    and `text`; tab-separated query-id, corpus-id, score) and measures how well and how fast the
    search of the index finds the judged papers, without a language model.

    --claims takes JSON Lines with `sentence`, `paper` (its title), `label` (supported or
    unsupported), `type` and `span` (the places of the abstract that hold it), and measures which
    of the sentences the check lets pass. The verdicts go into FOLDER/claims.jsonl.

    Examples:
      assistant eval dev_questions.jsonl -o report
      assistant eval dev_questions.jsonl -o report --baseline plain
      assistant eval --retrieval queries.jsonl qrels.tsv
      assistant eval --claims claims.jsonl -o report
    """
    if sum(each is not None for each in (questions, retrieval, claims)) != 1:
        raise typer.BadParameter(
            "give one of QUESTIONS, --retrieval QUERIES QRELS, and --claims CLAIMS"
        )
    if baseline not in (None, "plain"):
        raise typer.BadParameter("the one baseline is: plain")
    if retrieval is not None:
        _measure_retrieval(settings, *retrieval)
    elif claims is not None:
        _measure_claims(settings, claims, output)
    elif questions is not None:
        plain = baseline is not None
        _measure_answers(settings, questions, output, plain=plain, resume=resume, force=force)


def _measure_answers(
    settings: "Settings", questions: str, output: Path, *, plain: bool, resume: bool, force: bool
) -> None:
    from assistant.quality.plain import open_plain
    from assistant.question_files.batch import run_batch

    terminal = console.terminal()
    output.mkdir(parents=True, exist_ok=True)
    columns = {"ours": output / "answers.jsonl"}
    with console.open_assistant(settings) as assistant:
        papers = list(assistant.store.papers())
        _note_missing_papers(questions, papers)
        with terminal.counting("reading", len(papers), "papers") as progress:
            assistant.warm(papers, progress=progress)
        with terminal.stage("answering"):
            run_batch(assistant, questions, columns["ours"], resume=resume, force=force)
        if plain:
            columns["plain"] = output / "plain.jsonl"
            with open_plain(assistant) as pipeline, terminal.stage("asking the plain pipeline"):
                run_batch(pipeline, questions, columns["plain"], resume=resume, force=force)
    verdicts = {name: _verdicts(path) for name, path in columns.items()}
    _show_measures(verdicts, output, f"Answers to {Path(questions).name}")


def _note_missing_papers(questions: str, papers: "Sequence[Paper]") -> None:
    """Say if papers that the questions ask for are not in the collection."""
    from assistant.quality.evaluation import gold_titles
    from assistant.question_files.questions import QuestionFile

    with QuestionFile(questions) as asked:
        wanted = {title for question in asked for title in gold_titles(question.columns)}
    known = {name for paper in papers for name in (paper.id, paper.title)}
    if missing := wanted - known:
        console.terminal().note(
            f"{len(missing)} of {len(wanted)} papers that answers should cite are not in the "
            f"collection, such as: {min(missing)}"
        )


def _measure_retrieval(settings: "Settings", queries: Path, qrels: Path) -> None:
    from assistant.quality.retrieval import measure, read_judged

    judged = read_judged(queries, qrels)
    terminal = console.terminal()
    with console.open_store(settings) as store:
        wanted = {
            key for grades in judged.grades.values() for key, grade in grades.items() if grade
        }
        if missing := wanted - store.known(wanted):
            terminal.note(f"{len(missing)} of {len(wanted)} relevant papers are not in the index")
        with terminal.counting("searching", len(judged.queries), "queries") as progress:
            report = measure(store, judged, progress=progress)
    rows = [(name, f"{value:.4f}") for name, value in report.values.items()]
    rows += [
        ("query, median", f"{1000 * report.median_seconds:.1f} ms"),
        ("query, p95", f"{1000 * report.p95_seconds:.1f} ms"),
    ]
    terminal.table((f"{report.queries} queries", "mean"), rows)


def _measure_claims(settings: "Settings", path: Path, output: Path) -> None:
    from assistant.escaping import json_text
    from assistant.quality.claims import (
        HEADER,
        check_claims,
        check_sentence,
        claims_table,
        read_claims,
    )

    claims = read_claims(path)
    terminal = console.terminal()
    with console.open_store(settings) as store:
        papers = {name: paper for paper in store.papers() for name in (paper.title, paper.id)}
        with terminal.stage("checking"):
            checked = list(check_claims(claims, papers, check_sentence))
    if left := len(claims) - len(checked):
        terminal.note(f"{left} of {len(claims)} claims are about papers not in the collection")
    terminal.table(HEADER, claims_table(checked))
    output.mkdir(parents=True, exist_ok=True)
    verdicts = output / "claims.jsonl"
    verdicts.write_text("".join(json_text(each.as_dict()) + "\n" for each in checked), "utf-8")
    terminal.note(f"verdicts and quotes: {verdicts}")


@configured(*ENGINE)
def calibrate(
    settings: "Settings",
    questions: Annotated[str, typer.Argument(metavar="QUESTIONS", help="A .jsonl file.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fit and show, but keep nothing.")] = (
        False
    ),
) -> None:
    """Fit to your own collection from which probe on a question is answered.

    QUESTIONS is a file as for `assistant eval`, of questions that the papers answer and of some
    that they do not (`"kind": "unanswerable"`). The thresholds are fitted on every other question,
    tried on the rest, and kept with the index unless they do worse there than the ones in use.

    Example:
      assistant calibrate my_questions.jsonl
    """
    from assistant.answer.calibration import NO_GATE, fit, keep, sampled, shares
    from assistant.quality.evaluation import UNANSWERABLE, kind_of
    from assistant.question_files.questions import read_questions

    asked = [question for question in read_questions(questions) if not question.problem]
    terminal = console.terminal()
    with console.open_assistant(settings) as assistant:
        used, assistant.thresholds = assistant.thresholds, NO_GATE
        samples = []
        with terminal.counting("asking", len(asked), "questions") as progress:
            for done, question in enumerate(asked, start=1):
                answerable = kind_of(question.columns) != UNANSWERABLE
                with assistant.stream(question.text, history=question.history) as events:
                    if sample := sampled(events, answerable=answerable):
                        samples.append(sample)
                progress(done)
    fitted = fit(samples[::2])
    rows = []
    for half, part in (("fitted on", samples[::2]), ("the others", samples[1::2])):
        for name, thresholds in (("in use", used), ("fitted", fitted)):
            declined, abstained = shares(part, thresholds)
            rows.append((half, name, f"{declined:.1%}", f"{abstained:.1%}"))
    terminal.table(
        ("questions", "thresholds", "answerable declined", "unanswerable declined"), rows
    )
    values = f"probe {fitted.probe_at_least:.2f}, if doubtful {fitted.probe_if_doubtful:.2f}"
    (old_lost, old_won), (new_lost, new_won) = (shares(samples[1::2], t) for t in (used, fitted))
    if new_won - new_lost < old_won - old_lost:
        terminal.note(f"{values}: worse on the other questions, not kept")
    elif not dry_run:
        path = keep(fitted, settings.index, model=settings.model, questions=len(samples))
        terminal.note(f"{values}: kept in {path}")


def _verdicts(answers: Path) -> list["Verdict"]:
    from assistant.quality.evaluation import judge

    lines = answers.read_text(encoding="utf-8").split("\n")
    return [judge(json.loads(line)) for line in lines if line]


def _show_measures(columns: dict[str, list["Verdict"]], output: Path, title: str) -> None:
    from assistant.escaping import json_text
    from assistant.quality.measures import measures_table
    from assistant.quality.report import report_html

    rows = [
        [kind, name, *("" if each is None else f"{each} ({each.count})" for each in values)]
        for kind, name, values in measures_table(columns)
    ]
    terminal = console.terminal()
    terminal.table(("kind", "measure", *columns), rows)
    with (output / "verdicts.jsonl").open("w", encoding="utf-8") as file:
        for verdict in columns["ours"]:
            row = {
                "id": verdict.row["id"],
                "right": verdict.right,
                "why": verdict.problems,
                "wrong_shown": verdict.wrong_shown,
            }
            file.write(json_text(row) + "\n")
    report = output / "report.html"
    report.write_text(report_html(columns, title), encoding="utf-8")
    terminal.note(f"answers, verdicts and charts: {report}")
