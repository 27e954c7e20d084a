"""`assistant check` compares a text with the papers and says why a sentence fails."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from assistant.commands import cli
from assistant.resources import resource
from vectorstore import Paper
from vectorstore.sources.papers import read_papers

BENCHX = next(
    paper
    for paper in read_papers([resource("seeds/huggingface_papers.txt")])
    if isinstance(paper, Paper) and "BenchX" in paper.title
)
RIGHT = "BenchX is a unified benchmark framework that enables head-to-head comparison."
WRONG = "BenchX includes 12 datasets."


@pytest.fixture
def environment(bundled_index: Path, models_dir: Path, small_model: Path) -> dict[str, str]:
    return {
        "ASSISTANT_INDEX": str(bundled_index),
        "ASSISTANT_MODELS_DIR": str(models_dir),
        "ASSISTANT_MODEL": str(small_model),
    }


def run(environment: dict[str, str], *arguments: str, given: str | None = None) -> Any:
    return CliRunner(env=environment).invoke(cli.app, ["check", *arguments], input=given)


def test_each_sentence_has_its_verdict_and_quotation(environment: dict[str, str]) -> None:
    done = run(environment, f"{BENCHX.abstract} {WRONG}", "--paper", BENCHX.title, "--json")
    assert done.exit_code == 0, done.output
    *own, wrong = json.loads(done.stdout)
    assert {each["verdict"] for each in own} == {"supported"}
    for each in own:
        for citation in each["citations"]:
            start, end = citation["start"], citation["end"]
            assert BENCHX.abstract[start:end] == citation["quote"]
    assert wrong["verdict"] in ("contradicted", "not_found")
    assert "12" in wrong["reason"]


def test_a_text_is_compared_with_the_nearest_papers(environment: dict[str, str]) -> None:
    done = run(environment, "-", given=f"{BENCHX.abstract.split('. ')[0]}.")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("supported: ")
    assert BENCHX.title in done.stdout


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_claims_keep_their_columns(
    environment: dict[str, str], tmp_path: Path, ending: str
) -> None:
    claims, output = tmp_path / "claims.jsonl", tmp_path / f"out{ending}"
    rows = [{"sentence": WRONG, "paper": BENCHX.id, "mine": "a"}, {"text": WRONG, "mine": "b"}]
    claims.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    done = run(environment, str(claims), "-o", str(output))
    assert done.exit_code == 0, done.output
    text = output.read_text(encoding="utf-8")
    found: list[dict[str, Any]] = (
        [json.loads(line) for line in text.splitlines()]
        if ending == ".jsonl"
        else list(csv.DictReader(text.splitlines()))
    )
    assert [row["mine"] for row in found] == ["a", "b"]
    assert all(row["sentence"] == WRONG and row["verdict"] != "supported" for row in found)


@pytest.mark.parametrize("line", ["{", "[1]", "{}", '{"sentence": " "}'])
def test_a_line_that_is_no_claim_is_named(
    environment: dict[str, str], tmp_path: Path, line: str
) -> None:
    claims = tmp_path / "claims.jsonl"
    claims.write_text(f'{{"sentence": "BenchX is a framework."}}\n{line}\n', encoding="utf-8")
    done = run(environment, str(claims), "--json")
    assert done.exit_code != 0
    assert "claims.jsonl:2" in (str(done.exception) + done.output)
