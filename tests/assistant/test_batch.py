"""Batches: every question gets its row, through kills, interruptions and bad questions."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import AnswersFileError, QuestionFileError
from assistant.question_files.answers import ANSWER_FIELDS
from assistant.question_files.batch import BatchReport, prepare_batch, run_batch
from assistant.types import Answer
from tests.fakes import EchoAssistant

# A file is written for each example, and how fast that is is no promise of ours.
patient = settings(deadline=None)

ROOT = Path(__file__).resolve().parents[2]
MIXED: list[dict[str, Any]] = [
    {"id": "a", "question": "What is a state?", "topic": "states"},
    {"id": "b", "question": "An unknown thing?", "topic": None},
    {"question": "refused"},
    {"id": 4, "question": "And then?", "history": ["What is a state?"], "text": "mine"},
    {"question": "  "},
    {"id": "a", "question": "crash"},
    {"id": "f", "question": "=1+1", "n": {"deep": [1, 2.5, None, True]}},
]
STATUSES = ["answered", "abstained", "error", "answered", "error", "error", "answered"]


def write_questions(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def journal_of(answers: Path) -> Path:
    return answers.with_name(answers.name + ".journal.jsonl")


def untimed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "timings"} for row in rows]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write_questions(tmp_path / "questions.jsonl", MIXED)


class StoppedAfter(EchoAssistant):
    """Interrupted by the user when it has answered so many questions."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.left = answers

    def ask(self, question: str, *, history: Sequence[str] = (), where: Any = None) -> Answer:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().ask(question, history=history)


def test_every_row_holds_its_id_its_columns_and_an_answer(tmp_path: Path, questions: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    report = run_batch(EchoAssistant(), questions, answers)
    rows = read_jsonl(answers)
    assert [row["status"] for row in rows] == STATUSES
    assert [row["id"] for row in rows] == ["a", "b", "3", "4", "5", "a#2", "f"]
    assert all(row.keys() >= ANSWER_FIELDS for row in rows)
    assert rows[0]["topic"] == "states"
    assert rows[3]["text"] == "What is a state? < And then? [1]"
    assert rows[3]["input_text"] == "mine"
    assert rows[3]["history"] == ["What is a state?"]
    assert rows[5]["input_id"] == "a"
    assert rows[6]["n"] == MIXED[6]["n"]
    assert (report.total, report.answered, report.abstained, report.failed) == (7, 3, 1, 3)


def test_an_error_row_says_why(tmp_path: Path, questions: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    run_batch(EchoAssistant(), questions, answers)
    reasons = [row["reason"] for row in read_jsonl(answers) if row["status"] == "error"]
    assert reasons == [
        "cannot be asked: refused",
        f"{questions}:5: the question is empty",
        "RuntimeError: broken by crash",
    ]


def test_nothing_is_left_beside_the_answers(tmp_path: Path, questions: Path) -> None:
    run_batch(EchoAssistant(), questions, tmp_path / "answers.jsonl")
    assert {path.name for path in tmp_path.iterdir()} == {"questions.jsonl", "answers.jsonl"}


def test_progress_counts_every_question_once(tmp_path: Path, questions: Path) -> None:
    seen: list[BatchReport] = []
    report = run_batch(EchoAssistant(), questions, tmp_path / "a.md", progress=seen.append)
    assert [step.done for step in seen] == list(range(1, 8))
    assert seen[-1] == report


@pytest.mark.parametrize("stop", range(6))
@pytest.mark.parametrize("ending", ["jsonl", "csv", "md"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, questions: Path, stop: int, ending: str
) -> None:
    whole, answers = tmp_path / f"whole.{ending}", tmp_path / f"answers.{ending}"
    run_batch(EchoAssistant(), questions, whole)
    with pytest.raises(KeyboardInterrupt):
        run_batch(StoppedAfter(stop), questions, answers)
    assert not answers.exists()
    second = EchoAssistant()
    run_batch(second, questions, answers, resume=True)
    # Times of failed questions are real ones; only they may differ.
    assert without_times(answers) == without_times(whole)
    assert journal_of(answers).exists() == (ending != "jsonl")
    once = [q for q, _ in second.asked if "refused" not in q and "crash" not in q]
    assert len(once) == 4 - min(stop, 2) - (stop >= 4)


def without_times(path: Path) -> Any:
    if path.suffix == ".jsonl":
        return untimed(read_jsonl(path))
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {k: v for k, v in row.items() if "seconds" not in k} for row in csv.DictReader(file)
        ]


@patient
@given(cut=st.integers(min_value=0, max_value=10_000), junk=st.sampled_from([b"", b"\0" * 9, b"{"]))
def test_a_journal_torn_anywhere_is_resumed(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    questions = write_questions(folder / "q.jsonl", MIXED)
    answers = folder / "a.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run_batch(StoppedAfter(5), questions, answers)
    journal = journal_of(answers)
    whole = journal.read_bytes()
    head = whole.index(b"\n") + 1  # comes by a rename, whole
    kept = whole[: head + cut % (len(whole) - head + 1)]
    journal.write_bytes(kept + junk)
    assistant = EchoAssistant()
    run_batch(assistant, questions, answers, resume=True)
    assert [row["status"] for row in read_jsonl(answers)] == STATUSES
    intact = {json.loads(line)["answer"]["question"] for line in kept.split(b"\n")[1:-1]}
    finished = {"What is a state?", "An unknown thing?", "And then?"} & intact
    assert finished.isdisjoint(question for question, _ in assistant.asked)


def test_kill_minus_nine_repeats_nothing_and_loses_nothing(tmp_path: Path) -> None:
    rows = [
        {"id": f"q{n}", "question": f"question {n} {'unknown' * (n % 3 == 0)}"} for n in range(48)
    ]
    questions = write_questions(tmp_path / "questions.jsonl", rows)
    answers, log = tmp_path / "answers.jsonl", tmp_path / "log"
    kills, chance = 0, random.Random(2)
    program = (
        "import sys; from pathlib import Path;"
        "from assistant.question_files.batch import run_batch;"
        "from tests.fakes import EchoAssistant;"
        f"run_batch(EchoAssistant(Path({str(log)!r}), 0.01), {str(questions)!r},"
        f" {str(answers)!r}, resume=True)"
    )
    while True:
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        wanted = count_lines(log) + chance.randint(1, 4)
        while process.poll() is None and count_lines(log) < wanted:
            time.sleep(0.001)
        if process.poll() is not None and process.returncode == 0:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        assert not answers.exists() or len(read_jsonl(answers)) == len(rows)
    assert kills >= 10
    uninterrupted = tmp_path / "whole.jsonl"
    run_batch(EchoAssistant(), questions, uninterrupted)
    assert answers.read_bytes() == uninterrupted.read_bytes()
    # A kill may fall between an answer and its line in the journal: that one is asked again.
    assert len(rows) <= count_lines(log) <= len(rows) + kills


def count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_resume_asks_only_what_changed_in_the_questions(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"question": f"question {n}", "topic": "old"} for n in range(4)]
    questions, answers = write_questions(tmp_path / "q.jsonl", rows), tmp_path / "a.jsonl"
    run_batch(EchoAssistant(), questions, answers)
    rows[1]["question"] = "another"
    rows[2]["topic"] = "new"
    rows[3]["history"] = ["question 0"]
    write_questions(questions, [*rows, {"question": "added"}])
    assistant = EchoAssistant()
    run_batch(assistant, questions, answers, resume=True)
    assert [q for q, _ in assistant.asked] == ["another", "question 3", "added"]
    assert [row.get("topic") for row in read_jsonl(answers)] == ["old", "old", "new", "old", None]


def test_resume_asks_what_failed_again(tmp_path: Path) -> None:
    questions = write_questions(tmp_path / "q.jsonl", [{"question": "fine"}, {"question": "crash"}])
    answers = tmp_path / "a.jsonl"
    run_batch(EchoAssistant(), questions, answers)
    assistant = EchoAssistant()
    report = run_batch(assistant, questions, answers, resume=True)
    assert [q for q, _ in assistant.asked] == ["crash"]
    assert (report.resumed, report.done) == (1, 2)


def test_a_resume_with_nothing_to_do_needs_no_assistant(tmp_path: Path) -> None:
    questions = write_questions(tmp_path / "q.jsonl", [{"question": "fine"}, {"question": ""}])
    answers = tmp_path / "a.jsonl"
    run_batch(EchoAssistant(), questions, answers)
    before = answers.read_bytes()
    with prepare_batch(questions, answers) as batch:
        assert batch.pending == 0
        assert batch.run(lambda _: pytest.fail("asked")).resumed == 1
    assert answers.read_bytes() == before


@pytest.mark.parametrize("leftover", ["answers.csv", "answers.csv.journal.jsonl"])
def test_an_earlier_run_is_never_overwritten_unasked(
    tmp_path: Path, questions: Path, leftover: str
) -> None:
    (tmp_path / leftover).write_text("precious")
    with pytest.raises(AnswersFileError) as caught:
        run_batch(EchoAssistant(), questions, tmp_path / "answers.csv")
    assert "--force" in caught.value.hint
    assert (tmp_path / leftover).read_text() == "precious"
    report = run_batch(EchoAssistant(), questions, tmp_path / "answers.csv", force=True)
    assert report.done == 7


def test_forced_over_answers_stay_until_the_new_ones_are_whole(
    tmp_path: Path, questions: Path
) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_text("precious")
    with pytest.raises(KeyboardInterrupt):
        run_batch(StoppedAfter(2), questions, answers, force=True)
    assert answers.read_text() == "precious"
    assistant = EchoAssistant()
    run_batch(assistant, questions, answers, resume=True)
    assert ("What is a state?", ()) not in assistant.asked
    assert [row["status"] for row in read_jsonl(answers)] == STATUSES


@pytest.mark.parametrize("ending", ["jsonl", "csv", "xlsx", "parquet", "md", "html"])
def test_the_same_command_again_asks_what_is_new_wherever_it_stands(
    tmp_path: Path, questions: Path, ending: str
) -> None:
    answers = tmp_path / f"answers.{ending}"
    run_batch(EchoAssistant(), questions, answers)
    write_questions(
        questions, [{"question": "new"}, *MIXED[::-1], {"question": "What is a state?"}]
    )
    second = EchoAssistant()
    report = run_batch(second, questions, answers)
    assert [q for q, _ in second.asked] == ["new", "crash", "refused"]
    assert (report.total, report.resumed) == (9, 5)


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_answers_to_questions_that_are_gone_are_never_dropped_unasked(
    tmp_path: Path, questions: Path, ending: str
) -> None:
    answers = tmp_path / f"answers.{ending}"
    run_batch(EchoAssistant(), questions, answers)
    before = answers.read_bytes()
    write_questions(questions, MIXED[1:])
    with pytest.raises(AnswersFileError, match="not in this file: 1") as caught:
        run_batch(EchoAssistant(), questions, answers)
    assert "--resume" in caught.value.hint
    assert answers.read_bytes() == before
    assert run_batch(EchoAssistant(), questions, answers, resume=True).total == 6


@pytest.mark.parametrize(
    "name", ["answers.txt", "answers", "missing/answers.csv", "folder.md", "questions.jsonl"]
)
@pytest.mark.parametrize("options", [{}, {"force": True}, {"resume": True}])
def test_a_bad_target_is_refused_before_anything_is_asked(
    tmp_path: Path, questions: Path, name: str, options: dict[str, Any]
) -> None:
    (tmp_path / "folder.md").mkdir()
    before = questions.read_bytes()
    assistant = EchoAssistant()
    with pytest.raises(AnswersFileError):
        run_batch(assistant, questions, tmp_path / name, **options)
    assert not assistant.asked
    assert questions.read_bytes() == before


def test_bad_questions_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("text\nhello\n")
    with pytest.raises(QuestionFileError):
        run_batch(EchoAssistant(), path, tmp_path / "a.csv")
    assert {p.name for p in tmp_path.iterdir()} == {"q.csv"}


def test_a_foreign_file_is_no_earlier_run(tmp_path: Path, questions: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    row = dict.fromkeys(ANSWER_FIELDS, "x")
    answers.write_text(json.dumps(row) + "\n")
    with pytest.raises(AnswersFileError, match="not written by a batch"):
        run_batch(EchoAssistant(), questions, answers, resume=True)


def test_two_runs_never_write_the_same_answers(tmp_path: Path, questions: Path) -> None:
    answers = tmp_path / "answers.jsonl"

    class Intruded(EchoAssistant):
        def ask(self, question: str, *, history: Sequence[str] = (), where: Any = None) -> Answer:
            with pytest.raises(AnswersFileError, match="another run"):
                second.run(lambda _: EchoAssistant())
            return super().ask(question, history=history)

    first = prepare_batch(questions, answers)
    second = prepare_batch(questions, answers)
    with first, second:
        assert first.run(lambda _: Intruded()).answered == 3


# Formats

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@patient
@given(question=cells, topic=cells)
def test_no_csv_cell_starts_a_formula_and_none_loses_its_text(
    tmp_path_factory: pytest.TempPathFactory, question: str, topic: str
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    rows = [{"question": f"q{question}", "=topic": topic}]
    run_batch(EchoAssistant(), write_questions(folder / "q.jsonl", rows), folder / "a.csv")
    text = (folder / "a.csv").read_bytes().decode()
    header, values = csv.reader(io.StringIO(text, newline=""))
    row = dict(zip(header, values, strict=True))
    assert row["'=topic"].removeprefix("'") == topic.removeprefix("'")
    for cell in [*header, *values]:
        assert not cell.startswith(("=", "@", "\t", "\r", "\n"))
        assert not cell.startswith(("+", "-")) or cell[1:].replace(".", "", 1).isdecimal()


def test_csv_keeps_columns_and_gives_citations_as_json(tmp_path: Path, questions: Path) -> None:
    answers = tmp_path / "answers.csv"
    run_batch(EchoAssistant(), questions, answers)
    with answers.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["a", "b", "3", "4", "5", "a#2", "f"]
    assert rows[3]["input_text"] == "mine"
    assert rows[6]["question"] == "'=1+1"
    assert json.loads(rows[6]["n"]) == MIXED[6]["n"]
    (citation,) = json.loads(rows[0]["citations"])
    assert citation["paper_id"] == "larch"
    assert rows[1]["citations"] == ""


def test_markdown_shows_text_as_text(tmp_path: Path) -> None:
    hostile = "<script>x</script> [a](http://b) *c* `d` \x1b[31m\n# e"
    questions = write_questions(tmp_path / "q.jsonl", [{"question": hostile}, {"question": "f"}])
    run_batch(EchoAssistant(), questions, tmp_path / "a.md")
    text = (tmp_path / "a.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(headings) == 2
    assert "\x1b" not in text
    assert "\\<script\\>" in headings[0]
    assert "<script" not in text.replace("\\<", "")
    assert text.count("\n> — \\[1\\] *Larch") == 2


@patient
@given(values=st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=4))
def test_every_line_of_the_answers_is_json_whatever_the_columns_hold(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]
) -> None:
    # Lone surrogates too: JSON can hold them, UTF-8 cannot.
    folder = tmp_path_factory.mktemp("jsonl")
    columns = {f"c{key}": value for key, value in values.items()}
    questions = write_questions(folder / "q.jsonl", [{"question": "a", **columns}])
    run_batch(EchoAssistant(), questions, folder / "a.jsonl")
    (row,) = read_jsonl(folder / "a.jsonl")
    assert {key: row[key] for key in columns} == columns
