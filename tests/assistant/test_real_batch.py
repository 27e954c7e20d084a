"""A file of questions through the real model: answered, quoted, judged, and never asked again."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from assistant import Assistant
from assistant.quality.run_report import write_report
from assistant.question_files.batch import answering_all, prepare_batch
from vectorstore import Paper


def test_a_table_is_answered_and_goes_on_when_it_has_grown(
    assistant: Assistant, bundled_papers: tuple[Paper, ...], tmp_path: Path
) -> None:
    (benchx,) = [paper for paper in bundled_papers if paper.title.startswith("BenchX")]
    questions, answers = tmp_path / "q.csv", tmp_path / "a.parquet"
    questions.write_text(
        "question,facts,papers,only_papers,topic\n"
        f"How many datasets does BenchX include?,nine | 9,{benchx.id},{benchx.id},x-rays\n"
    )
    with prepare_batch(questions, answers) as batch:
        done = batch.run(
            answering_all(assistant),
            nearest=lambda question: assistant.search(question.text, 1)[0].paper.id,
            report=write_report(tmp_path / "r.html", "Run"),
        )
    assert (done.answered, done.total) == (1, 1)
    (row,) = pq.read_table(answers).to_pylist()
    assert (row["topic"], row["status"]) == ("x-rays", "answered")
    assert {passage["paper_id"] for passage in row["passages"]} == {benchx.id}
    for citation in row["citations"]:
        assert benchx.abstract[citation["start"] : citation["end"]] == citation["quote"]
    report = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "1 answers compared" in report
    assert "not right" not in report

    with questions.open("a") as file:
        file.write("How many datasets does BenchX include?,,,nothing-like-this,\n")
    with prepare_batch(questions, answers) as batch:
        assert batch.pending == 1
        done = batch.run(answering_all(assistant))
    assert (done.answered, done.abstained, done.resumed) == (1, 1, 1)
