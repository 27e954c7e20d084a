"""The report of a run counts every row, judges what can be judged, and runs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from assistant.quality.run_report import write_report
from assistant.question_files.batch import answering_all, prepare_batch
from tests.assistant.test_report import Nesting
from tests.fakes import PAPERS, EchoAssistant

EVIL = "<script>boom()</script><img src=x onerror=boom()> $\\frac"


def reported(folder: Path, rows: list[dict[str, Any]]) -> str:
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with prepare_batch(folder / "q.jsonl", folder / "a.csv") as batch:
        report = write_report(folder / "r.html", f"Run {EVIL}")
        batch.run(answering_all(EchoAssistant()), report=report)
    return (folder / "r.html").read_text(encoding="utf-8")


def test_a_report_counts_every_row_and_shows_charts(tmp_path: Path) -> None:
    questions = ["fine", "fine", "unknown", "crash", " ", EVIL]
    page = reported(tmp_path, [{"question": each} for each in questions])
    nesting = Nesting(page)
    assert nesting.open == []
    assert nesting.seen.count("svg") == 6
    assert "6 questions, 3 answered, 1 not in the papers, 2 failed" in page
    assert PAPERS[0].title.split(":")[0] in page
    assert "RuntimeError: broken by crash" in page
    assert "compared" not in page
    assert not {"script", "img"} & set(nesting.seen)


def test_columns_of_what_is_expected_make_it_an_evaluation(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"question": "one", "expected": "ONE"},
        {"question": "two", "expected": ["three", "four"]},
        {"question": "five", "papers": [PAPERS[0].id]},
        {"question": "six", "papers": PAPERS[1].title, "facts": "six | 6; seven"},
        {"question": "eight"},
        {"question": "unknown nine", "kind": "unanswerable"},
    ]
    page = reported(tmp_path, rows)
    assert "5 answers compared" in page
    assert "2 not right" in page
    assert "lacks: three / four" in page
    assert "lacks: seven" in page
    assert f"does not cite (nor retrieve): {PAPERS[1].title}" in page
    assert f"cites: {PAPERS[0].title}" in page
