"""Promises of batches in the background: whole, resumable, private, taken along as they are."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path

import pytest

from assistant.errors import QuestionError, QuestionFileError
from assistant.ui.batches import Batches, Job
from tests.fakes import ScriptedAssistant, default_stories, endless_story

PATIENCE_SECONDS = 60.0
QUESTIONS = ("How fast is it?", "What do swans eat?", "broken", "And how large are they?")


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "mine.txt"
    path.write_text("\n".join(QUESTIONS), encoding="utf-8")
    return path


def test_what_cannot_be_asked_is_counted_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "How fast is it?"}\n{"question": ""}\n', encoding="utf-8")
    made = batches(tmp_path)
    job = ended(made, made.begin(path))
    (again,) = batches(tmp_path).jobs()
    for each in (job, again):
        assert each.finished
        assert (each.report.answered, each.report.failed) == (1, 1)


def batches(folder: Path, **stories: object) -> Batches:
    assistant = ScriptedAssistant(stories | default_stories())  # type: ignore[arg-type]
    return Batches(folder / "batches", assistant.of)


def ended(made: Batches, job: Job, owner: str = "") -> Job:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while made.job(job.id, owner=owner).running:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return made.job(job.id, owner=owner)


def test_every_question_gets_its_row(tmp_path: Path, questions: Path) -> None:
    made = batches(tmp_path)
    job = ended(made, made.begin(questions))
    assert job.finished
    assert job.failure is None
    report = job.report
    assert (report.answered, report.abstained, report.failed) == (2, 1, 1)
    assert [turn.question for turn in made.turns(job.id)] == list(QUESTIONS)
    assert [turn.outcome for turn in made.turns(job.id)] == ["done", "done", "failed", "done"]


def test_a_batch_is_seen_again_after_a_restart(tmp_path: Path, questions: Path) -> None:
    made = batches(tmp_path)
    job = ended(made, made.begin(questions))
    (again,) = batches(tmp_path).jobs()
    assert (again.id, again.name, again.finished) == (job.id, "mine.txt", True)
    assert again.report.done == job.report.done
    assert batches(tmp_path).turns(job.id) == made.turns(job.id)


def test_a_paused_batch_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("How fast is it?\nendless\nWhat do swans eat?\n", encoding="utf-8")
    made = batches(tmp_path, endless=endless_story())
    job = made.begin(path)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not made.turns(job.id):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    paused = made.pause(job.id)
    assert not paused.running
    assert not paused.finished
    # After a restart, with a model that does answer.
    model = ScriptedAssistant({"": default_stories()["swans"]})
    later = Batches(tmp_path / "batches", model.of)
    done = ended(later, later.go_on(job.id))
    assert done.finished
    assert [turn.question for turn in later.turns(job.id)] == [
        "How fast is it?",
        "endless",
        "What do swans eat?",
    ]
    statuses = [turn.answer.status for turn in later.turns(job.id) if turn.answer]
    assert statuses == ["answered", "abstained", "abstained"]  # the first was not asked again


def test_answers_are_taken_along_as_the_command_writes_them(
    tmp_path: Path, questions: Path
) -> None:
    made = batches(tmp_path)
    job = ended(made, made.begin(questions))
    rows = [json.loads(line) for line in made.write(job.id, "jsonl").splitlines()]
    assert [row["question"] for row in rows] == list(QUESTIONS)
    assert [row["status"] for row in rows] == ["answered", "abstained", "error", "answered"]
    assert "not on this machine" in rows[2]["reason"]
    table = list(csv.DictReader(io.StringIO(made.write(job.id, "csv"))))
    assert [row["status"] for row in table] == [row["status"] for row in rows]
    assert "How fast is it?" in made.write(job.id, "md")
    with pytest.raises(KeyError):
        made.write(job.id, "../../etc/passwd")


def test_nobody_reaches_a_batch_of_somebody_else(tmp_path: Path, questions: Path) -> None:
    made = batches(tmp_path)
    job = made.begin(questions, owner="me")
    for owner in ("", "you"):
        assert made.jobs(owner=owner) == ()
        for act in (made.turns, made.pause, made.go_on, made.delete):
            with pytest.raises(QuestionError):
                act(job.id, owner=owner)
    ended(made, job, owner="me")
    made.delete(job.id, owner="me")
    assert made.jobs(owner="me") == ()
    assert list((tmp_path / "batches").iterdir()) == []


def test_a_file_without_questions_begins_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(QuestionFileError):
        batches(tmp_path).begin(path)
    assert batches(tmp_path).jobs() == ()
