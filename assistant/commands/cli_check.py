"""The command that compares a text with the papers, sentence by sentence."""

import csv
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

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
    from collections.abc import Iterable, Iterator

    from assistant.answer.pipeline import Assistant
    from assistant.settings import Settings
    from assistant.types import CheckedSentence
    from vectorstore.filters import Filters

ROWS_ENDING = ".jsonl"
"""Ending of a file that holds a claim a line."""
ENDINGS = (".jsonl", ".csv")
_RESULT_COLUMNS = ("sentence", "verdict", "reason", "support", "cited_papers", "quotes")


@configured(*STORE)
def check(
    settings: "Settings",
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT|FILE", help="- or nothing: standard input."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write there: .jsonl or .csv."),
    ] = None,
    paper: Annotated[
        str, typer.Option("--paper", metavar="ID", help="Compare with this paper; or its title.")
    ] = "",
    year: YearOption = None,
    author: AuthorOption = None,
    venue: VenueOption = None,
    where: WhereOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Check whether the papers say what a text says, without a model.

    Each sentence is compared with the papers nearest to it, and comes back as supported,
    contradicted or not found, with the exact quotation and the reason. A file that ends in .jsonl
    has a claim a line, with `sentence` (or `text`) and, if one paper is meant, `paper`; all its
    other columns are kept.

    Examples:
      assistant check "BenchX compares nine methods on four datasets."
      assistant check related_work.txt
      pbpaste | assistant check - --json
      assistant check claims.jsonl -o checked.jsonl
    """
    if output is not None and output.suffix.lower() not in ENDINGS:
        raise typer.BadParameter(f"{output}: give a file that ends in {' or '.join(ENDINGS)}")
    met = filters_of(year, author, venue, where)
    file = Path(text) if text and len(text) < 1_000 and "\n" not in text else None
    is_file = file is not None and file.is_file()
    with console.open_assistant(settings) as assistant:
        if is_file and file is not None and file.suffix.lower() == ROWS_ENDING:
            rows = _checked_rows(assistant, file, paper, met)
        else:
            given = (
                file.read_text(encoding="utf-8-sig")
                if is_file and file is not None
                else console.question_text(text, "check")
            )
            rows = (({}, each) for each in assistant.checking(given, paper=paper, where=met))
        if output is not None:
            count = _write(output, rows)
            console.terminal().note(f"{console.counted(count, 'sentence')}: {output}")
        elif as_json:
            console.print_json([{**columns, **each.as_dict()} for columns, each in rows])
        else:
            _show(rows)


def _show(rows: "Iterable[tuple[dict[str, Any], CheckedSentence]]") -> None:
    from assistant.escaping import plain_line

    terminal = console.terminal()
    styles = {"supported": "green", "contradicted": "red", "not_found": "yellow"}
    for _, each in rows:
        verdict = each.verdict.replace("_", " ")
        terminal.say(
            f"{verdict}: {plain_line(each.sentence)}", style=styles.get(each.verdict, "dim")
        )
        if each.reason:
            terminal.say(f"   {plain_line(each.reason)}")
        for citation in each.citations:
            title, quote = plain_line(citation.title), plain_line(citation.quote)
            terminal.say(f"   [{citation.number}] {title}: “{quote}”", style="dim")


def _checked_rows(
    assistant: "Assistant", file: Path, paper: str, where: "Filters | None"
) -> "Iterator[tuple[dict[str, Any], CheckedSentence]]":
    """Check each claim of a file; a claim may have several sentences."""
    from assistant.errors import QuestionFileError

    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row, claim = _claim(line)
            except (ValueError, RecursionError) as error:
                raise QuestionFileError(
                    f"not a claim ({error})",
                    path=str(file),
                    line=number,
                    hint='{"sentence": "...", "paper": "ID or title"}',
                ) from error
            named = str(row.get("paper") or paper)
            for each in assistant.checking(claim, paper=named, where=where):
                yield row, each


def _claim(line: str) -> tuple[dict[str, Any], str]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - told as any other bad line
    claim = row.get("sentence") or row.get("text")
    if not isinstance(claim, str) or not claim.strip():
        raise ValueError("sentence is missing")
    return row, claim


def _write(output: Path, rows: "Iterable[tuple[dict[str, Any], CheckedSentence]]") -> int:
    count = 0

    def counted() -> "Iterator[tuple[dict[str, Any], CheckedSentence]]":
        nonlocal count
        for count, row in enumerate(rows, start=1):  # noqa: B007 - the caller's
            yield row

    write = _write_json_lines if output.suffix.lower() == ROWS_ENDING else _write_csv
    with output.open("w", encoding="utf-8", newline="") as file:
        write(file, counted())
    return count


def _write_json_lines(
    file: TextIO, rows: "Iterable[tuple[dict[str, Any], CheckedSentence]]"
) -> None:
    from assistant.escaping import json_text

    file.writelines(json_text({**columns, **each.as_dict()}) + "\n" for columns, each in rows)


def _write_csv(file: TextIO, rows: "Iterable[tuple[dict[str, Any], CheckedSentence]]") -> None:
    from assistant.escaping import csv_cell

    rows = iter(rows)
    first = next(rows, None)
    names = [name for name in (first[0] if first else {}) if name not in ("sentence", "text")]
    writer = csv.writer(file)
    writer.writerow([*names, *_RESULT_COLUMNS])
    for columns, each in itertools.chain([first] if first else [], rows):
        cells = [
            *(columns.get(name) for name in names),
            each.sentence,
            each.verdict,
            each.reason,
            round(each.support, 3),
            "\n".join(dict.fromkeys(citation.paper_id for citation in each.citations)),
            "\n".join(citation.quote for citation in each.citations),
        ]
        writer.writerow([csv_cell(cell) for cell in cells])
