"""How a file of a thousand questions runs, on PubMedQA: rate, memory, yes/no/maybe, right abstract.

    python -m benchmarks.pubmedqa DATA [--minutes 25] [--sample 50] [--folder pubmedqa-run]

DATA holds ``abstracts.jsonl`` (id, title, abstract) and ``questions.jsonl`` (id, question, answer,
paper), as made from PubMedQA's labelled set (Jin et al., 2019). The questions are asked twice in
one file. What was asked is kept in the folder: the same command goes on, and makes the table from
what is there.

Neither system says "yes" or "no" by itself. So the same model reads question and answer of both in
the same words afterwards and chooses one of the three; it sees no abstract there.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from assistant import Assistant
from assistant.escaping import json_text
from assistant.llm.chat_format import chat_format
from assistant.llm.llama import Llama, Span, opened
from assistant.model_files.models import resolve
from assistant.quality.plain import open_plain
from assistant.question_files.batch import Answerer, run_batch
from assistant.settings import EMBEDDING_MODEL, load_settings
from assistant.types import Answer
from vectorstore import Paper
from vectorstore.embedding import MiniLMEmbedder
from vectorstore.filters import Filters
from vectorstore.store import Store

LABELS = ("yes", "no", "maybe")
SYSTEM = "You read the answer to a question and say what it comes to, in one word."
ASKED = (
    "Question: {question}\n\nAnswer: {text}\n\n"
    "Does this answer say yes, no, or maybe to the question? One word: yes, no or maybe."
)

Row = dict[str, Any]
console = Console(width=120)


def main(
    data: Annotated[Path, typer.Argument(help="abstracts.jsonl and questions.jsonl")],
    minutes: Annotated[float, typer.Option(help="For our questions, in this call.")] = 25.0,
    plain_minutes: Annotated[float, typer.Option(help="For the plain pipeline.")] = 15.0,
    sample: Annotated[int, typer.Option(help="Questions for the plain pipeline.")] = 50,
    folder: Annotated[Path, typer.Option(help="Where the rows are kept.")] = Path("pubmedqa-run"),
) -> None:
    """Ask, let the plain pipeline answer a sample, judge both, print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    questions = _read(data / "questions.jsonl")
    index = folder / "index"
    _build(data / "abstracts.jsonl", index)
    with Assistant(index=index) as assistant:
        ours = _asked(questions * 2, folder / "ours.jsonl", minutes, assistant)
        with open_plain(assistant) as pipeline:
            plain = _asked(questions[:sample], folder / "plain.jsonl", plain_minutes, pipeline)
    settings = load_settings()
    with opened(resolve(settings.model, settings.models_dir), sequences=1) as model:
        judge = _judge(model)
        for row in [*ours, *plain]:
            row["said"] = judge(row["question"], row["text"]) if _is_answer(row) else None
    console.print(_report(ours, plain, len(questions)), soft_wrap=True, markup=False)


def _build(abstracts: Path, index: Path) -> None:
    """Index the abstracts; PubMedQA has no titles of papers, so each has its PubMed number."""
    settings = load_settings()
    papers = (
        Paper(id=row["id"], title=row["title"] or f"PubMed {row['id']}", abstract=row["abstract"])
        for row in _read(abstracts)
    )
    embedder = MiniLMEmbedder(resolve(EMBEDDING_MODEL, settings.models_dir))
    with Store.create(index, embedder) as store:
        store.ingest(papers)


class _TimeIsUpError(BaseException):
    """No further question; what was answered is kept."""


@dataclass
class _Recorder:
    """Passes questions on, and takes down what the table needs."""

    system: Answerer
    questions: Mapping[str, Row]
    kept: Path
    until: float

    def ask(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> Answer:
        if time.monotonic() > self.until:
            raise _TimeIsUpError
        answer = self.system.ask(question, history=history, where=where)
        with self.kept.open("a", encoding="utf-8") as file:
            file.write(json_text(_row(self.questions[question], answer)) + "\n")
        return answer


def _asked(questions: Sequence[Row], kept: Path, minutes: float, system: Answerer) -> list[Row]:
    """Rows of as many questions as the time allows, asked by the batch, those kept before first."""
    asked = kept.with_suffix(".questions.jsonl")
    lines = (json_text({"id": q["id"], "question": q["question"]}) + "\n" for q in questions)
    asked.write_text("".join(lines), encoding="utf-8")
    known = {question["question"]: question for question in questions}
    recorder = _Recorder(system, known, kept, time.monotonic() + 60 * minutes)
    with contextlib.suppress(_TimeIsUpError):
        run_batch(recorder, asked, kept.with_suffix(".answers.jsonl"))
    return _read(kept) if kept.exists() else []


def _row(question: Row, answer: Answer) -> Row:
    return {
        "id": question["id"],
        "question": question["question"],
        "gold": question["answer"],
        "paper": question["paper"],
        "status": answer.status,
        "text": answer.text,
        "cited": sorted({citation.paper_id for citation in answer.citations}),
        "retrieved": [passage.paper.id for passage in answer.passages],
        "seconds": answer.timings.total_seconds,
        "first_text_seconds": answer.timings.first_text_seconds,
        "papers_read": answer.tokens.papers_read,
        "resident_megabytes": _resident_megabytes(),
    }


def _judge(model: Llama) -> Callable[[str, str], str]:
    """What an answer comes to: the likeliest of the three words, by the first token."""
    layout = chat_format(model.chat_template, SYSTEM, bos=model.bos_text, eos=model.eos_text)
    before = model.tokenize(layout.before, special=True)
    after = model.tokenize(layout.after, special=True)
    first = {label: model.tokenize(label)[0] for label in LABELS}

    def said(question: str, text: str) -> str:
        model.cut_sequence(0)
        tokens = [*before, *model.tokenize(ASKED.format(question=question, text=text)), *after]
        logits = model.decode([Span(0, 0, tokens)])[0]
        return max(LABELS, key=lambda label: float(logits[first[label]]))

    return said


def _is_answer(row: Row) -> bool:
    return bool(row["status"] == "answered")


def _report(ours: Sequence[Row], plain: Sequence[Row], questions: int) -> str:
    """The table in Markdown: both on the sample, ours on everything."""
    same = ours[: len(plain)]
    columns = [
        (f"ours, the same {len(same)}", same),
        (f"plain pipeline, {len(plain)}", plain),
        (f"ours, all {len(ours)}", ours),
    ]
    names = [name for name, _ in columns]
    lines = [f"| | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
    measures = [dict(_measures(rows)) for _, rows in columns]
    lines += [f"| {name} | {' | '.join(each[name] for each in measures)} |" for name in measures[0]]
    asked = min(len(ours), questions)
    return "\n".join([*lines, "", f"{asked} of {questions} different questions were asked."])


def _measures(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    answered = [row for row in rows if _is_answer(row)]
    right = [row for row in answered if row["said"] == row["gold"]]
    cited = [row for row in answered if row["paper"] in row["cited"]]
    alone = [row for row in cited if len(row["cited"]) == 1]
    usual = sum(row["gold"] == "yes" for row in rows)
    yield "yes/no/maybe right, an abstention is wrong", _share(len(right), len(rows))
    yield "the same, of those answered", _share(len(right), len(answered))
    yield "always saying yes would give", _share(usual, len(rows))
    yield "abstained", _share(sum(row["status"] == "abstained" for row in rows), len(rows))
    yield "right abstract cited, of those answered", _share(len(cited), len(answered))
    yield "right abstract alone cited, of those answered", _share(len(alone), len(answered))
    found = sum(row["paper"] in row["retrieved"] for row in rows)
    yield "right abstract among those the model got", _share(found, len(rows))
    seconds = sorted(row["seconds"] for row in rows)
    yield "seconds a question, median", f"{seconds[len(seconds) // 2]:.1f}" if seconds else ""
    yield "questions an hour", f"{3600 * len(seconds) / sum(seconds):.0f}" if seconds else ""
    memory = [row["resident_megabytes"] for row in rows]
    if memory:
        yield (
            "memory after a tenth, and at the end",
            f"{memory[len(memory) // 10]}, {memory[-1]} MB",
        )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.0f}%)" if whole else "none"


def _resident_megabytes() -> int:
    """Memory of this process now (Linux), mapped files of the model included."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def _read(path: Path) -> list[Row]:
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.strip()]


if __name__ == "__main__":
    typer.run(main)
