"""How the rate grows with workers, and what that comes to on a small cluster.

    python -m benchmarks.workers [--papers 256] [--questions 16] [--index PATH]

Embedding and answering, here and by one and two workers of a Ray cluster on this machine, each from
its first result on; how long that took to come is told beside it. The papers that are asked are
read before. What follows for a cluster is arithmetic and labelled so.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from assistant import Assistant
from assistant.commands.console import open_embedder
from assistant.commands.ray_engine import Cluster
from assistant.llm.hardware import cpu_name, usable_cores
from assistant.question_files.batch import answer_fields, answering_all
from assistant.question_files.questions import Question
from assistant.resources import resource
from assistant.settings import Settings, load_settings
from assistant.setup import SEEDS
from vectorstore import Paper, Store, read_papers
from vectorstore.ahead import vectors_of
from vectorstore.index.writing import PAPERS_PER_EMBEDDING

QUESTIONS = Path(__file__).resolve().parent.parent / "tests" / "quality" / "dev_questions.jsonl"
WORKERS = (1, 2)

NODES, CORES_PER_NODE = 4, 16
MANY_PAPERS, MANY_QUESTIONS = 10**7, 10**6
WRITTEN_PER_SECOND = 300
"""Papers, vectors given, by the one process that writes; measured by `benchmarks.scale`."""
GPU_PER_HOUR = 8_954
"""Questions of one process on an H100, each paper new; measured by `benchmarks.pubmedqa`."""

console = Console(width=120)


@dataclass(frozen=True)
class Run:
    """What was timed: pieces done, and when each was."""

    name: str
    started: float
    done: Sequence[tuple[float, int]]

    @property
    def first_seconds(self) -> float:
        """Until the first result."""
        return self.done[0][0] - self.started

    @property
    def rate(self) -> float:
        """Pieces a second from the first result on."""
        (first, _), *others = self.done
        return sum(count for _, count in others) / (others[-1][0] - first)


def main(
    papers: Annotated[int, typer.Option(help="How many are embedded.")] = 256,
    questions: Annotated[int, typer.Option(help="How many are asked.")] = 16,
) -> None:
    """Measure, and print two tables."""
    settings = load_settings()
    bundled = [each for each in read_papers([resource(SEEDS)]) if isinstance(each, Paper)]
    runs = {"papers embedded": _embedding(settings, bundled, papers)}
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        with Store.create(index, open_embedder(settings)) as store:
            store.ingest(bundled)
        runs["questions answered"] = _answering(settings.changed(index=index), questions)
    _print_rates(runs)
    _print_arithmetic(runs["papers embedded"], runs["questions answered"])


def _timed(name: str, results: Callable[[], Iterable[int]], *, started: float | None = None) -> Run:
    started = started or time.perf_counter()
    run = Run(name, started, [(time.perf_counter(), count) for count in results()])
    console.print(f"{name}: {run.rate:.2f} a second, the first after {run.first_seconds:.1f} s")
    return run


def _by_workers(results: Callable[[Cluster], Iterable[int]]) -> Iterator[Run]:
    for workers in WORKERS:
        started = time.perf_counter()
        cluster = Cluster(workers=workers)
        cluster.start()
        with cluster:
            name = f"ray, {workers} x {usable_cores() // workers} threads"
            yield _timed(name, partial(results, cluster), started=started)


def _embedding(settings: Settings, bundled: Sequence[Paper], most: int) -> list[Run]:
    copies = (
        replace(paper, id=f"{paper.id}-{copy}", title=f"{paper.title} ({copy})")
        for copy in range(-(-most // len(bundled)))
        for paper in bundled
    )
    papers = [paper for paper, _ in zip(copies, range(most), strict=False)]
    groups = [
        papers[start : start + PAPERS_PER_EMBEDDING]
        for start in range(0, most, PAPERS_PER_EMBEDDING)
    ]

    def here(threads: int) -> Iterator[int]:
        embedder = open_embedder(settings, threads=threads)
        for group in groups:
            yield len(vectors_of(embedder, group))

    def there(cluster: Cluster) -> Iterator[int]:
        work = [((group, group), group) for group in groups]
        return (len(vectors) for _, vectors in cluster.embedding(settings)(work))

    runs = [_timed(f"local, {t} threads", partial(here, t)) for t in sorted({1, usable_cores()})]
    return [*runs, *_by_workers(there)]


def _answering(settings: Settings, most: int) -> list[Run]:
    lines = map(json.loads, QUESTIONS.read_text(encoding="utf-8").splitlines())
    single = [row["question"] for row in lines if row["kind"] == "single"]
    questions = [Question(str(n), text) for n, text in enumerate(single[:most])]

    def there(cluster: Cluster) -> Iterator[int]:
        work = [([question], question) for question in questions]
        return (1 for _ in cluster.answering(settings)(work))

    with Assistant(settings) as assistant:
        # Once to read the papers, once to be timed.
        for question in questions:
            assistant.ask(question.text)

        def here() -> Iterator[int]:
            for question in questions:
                answer_fields(answering_all(assistant), question)
                yield 1

        local = _timed(f"local, {usable_cores()} threads", here)
    return [local, *_by_workers(there)]


def _print_rates(runs: dict[str, list[Run]]) -> None:
    table = Table(title=f"{cpu_name()}, {usable_cores()} cores")
    for head in ("", "engine", "a second", "first result after"):
        table.add_column(head)
    for what, each in runs.items():
        for run in each:
            table.add_row(what, run.name, f"{run.rate:.2f}", f"{run.first_seconds:.1f} s")
    console.print(table)


def _print_arithmetic(embedding: Sequence[Run], answering: Sequence[Run]) -> None:
    cores = NODES * CORES_PER_NODE
    embedded = embedding[-1].rate / usable_cores() * cores
    answered = answering[-1].rate / usable_cores() * cores
    written = min(embedded, WRITTEN_PER_SECOND)
    console.print(
        f"""
Arithmetic, not measured: {NODES} nodes of {CORES_PER_NODE} such cores, as fast per core as here.
  {MANY_PAPERS:,} papers: {embedded:.0f} a second embedded, at most {WRITTEN_PER_SECOND} written by
    the one process that writes: {MANY_PAPERS / written / 3600:.1f} hours
    ({MANY_PAPERS / embedded / 3600:.1f} if writing were free).
  {MANY_QUESTIONS:,} questions, on papers that are read: {answered:.1f} a second,
    {MANY_QUESTIONS / answered / 3600:.0f} hours.
  The same by one process on an H100, papers new: {MANY_QUESTIONS / GPU_PER_HOUR:.0f} hours.""",
        highlight=False,
    )


if __name__ == "__main__":
    typer.run(main)
