"""The commands on the engine itself, as a user runs them, with a small model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from assistant.answer.calibration import FILE_NAME

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = ROOT / "tests" / "quality" / "dev_questions.jsonl"
PATIENCE_SECONDS = 300


@pytest.fixture
def environment(
    bundled_index: Path, models_dir: Path, small_model: Path, tmp_path: Path
) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSISTANT_")}
    return {
        **kept,
        "ASSISTANT_INDEX": str(bundled_index),
        "ASSISTANT_MODELS_DIR": str(models_dir),
        "ASSISTANT_MODEL": str(small_model),
        "ASSISTANT_STATES_DIR": str(tmp_path / "states"),
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "assistant", *arguments]


def run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        command(*arguments),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def kept_papers(environment: dict[str, str]) -> int:
    folders: list[dict[str, Any]] = json.loads(run(environment, "states", "show", "--json"))
    return sum(folder["papers"] for folder in folders)


def test_reading_ahead_can_be_stopped_and_goes_on_where_it_was(
    environment: dict[str, str],
) -> None:
    reading = subprocess.Popen(
        command("warm"), env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    states, deadline = Path(environment["ASSISTANT_STATES_DIR"]), time.monotonic() + 120
    while len(list(states.glob("*/[!.]*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    reading.send_signal(signal.SIGKILL)
    reading.communicate()
    before = kept_papers(environment)
    assert 3 <= before <= 68
    unchanged = {path: path.stat().st_ino for path in states.glob("*/[!.]*")}
    assert "68 of 68 papers are read" in run(environment, "warm")
    assert kept_papers(environment) == 68
    assert all(path.stat().st_ino == inode for path, inode in unchanged.items())
    assert "GB freed" in run(environment, "states", "clear")
    assert kept_papers(environment) == 0


def test_an_evaluation_leaves_table_answers_verdicts_and_report(
    environment: dict[str, str], tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    asked = [rows[1], rows[102]]
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    output = tmp_path / "report"
    table = run(environment, "eval", str(questions), "-o", str(output), "--baseline", "plain")
    for wanted in ("quotes exact", "abstained (recall)", "first text shown, median"):
        assert wanted in table
    for name in ("answers.jsonl", "plain.jsonl"):
        lines = (output / name).read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["id"] for line in lines] == [row["id"] for row in asked]
    verdicts = (output / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["id"] for line in verdicts} == {row["id"] for row in asked}
    report = (output / "report.html").read_text(encoding="utf-8")
    assert all(row["id"] in report for row in asked)

    calibration = run(environment, "calibrate", str(questions), "--dry-run")
    assert "the others\tfitted\t" in calibration
    assert not (Path(environment["ASSISTANT_INDEX"]) / FILE_NAME).exists()
