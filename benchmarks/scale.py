"""An index of ten thousand to a million papers: how fast it is made, searched and added to.

    python -m benchmarks.scale CORPUS.jsonl 10000 100000 1000000 --folder SCRATCH

The papers are made of real ones: sentences of one abstract in another order, under its title with a
number; their vectors are mixtures of the real chunks' vectors with noise, so that the time to embed
can be left out (it is measured by itself, on the real papers). Each size leaves SIZE.json in the
folder; a table and the charts (scale.svg) show all that are there. For Linux: it asks the kernel
for memory, and to forget files.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import matplotlib.ticker
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from assistant.model_files.models import resolve
from assistant.settings import EMBEDDING_MODEL, load_settings
from vectorstore import MiniLMEmbedder, Paper, Store, read_papers
from vectorstore.chunking import chunk_paper
from vectorstore.filters import filters
from vectorstore.index.writing import embedded_text

_QUERIES, _COLD_QUERIES = 100, 20
_EMBEDDED = 1_000
_NOISE = 0.02
_TARGETS = {100_000: 60, 1_000_000: 150}
"""Milliseconds that 95 of 100 searches should take at most, by papers."""


def papers_like(real: Sequence[Paper], first: int, stop: int) -> Iterator[Paper]:
    """Papers number ``first`` to before ``stop`` of an endless series."""
    for number in range(first, stop):
        chance = random.Random(number)  # noqa: S311 - no secret
        model = real[number % len(real)]
        sentences = model.abstract.split(". ")
        chance.shuffle(sentences)
        yield Paper(
            id=f"paper-{number}",
            title=f"{model.title} {number}",
            abstract=". ".join(sentences),
            authors=(f"Author {chance.randrange(50_000)}", f"Author {chance.randrange(50_000)}"),
            year=1990 + chance.randrange(36),
            venue=f"Venue {chance.randrange(300)}",
            metadata={"category": f"c{chance.randrange(20)}"},
        )


class Mixed:
    """Vectors of made-up chunks; the question is embedded for real."""

    def __init__(self, embedder: MiniLMEmbedder, vectors: NDArray[np.float32]) -> None:
        self.name, self.dimension = embedder.name, embedder.dimension
        self._embedder, self._vectors = embedder, vectors
        self._random = np.random.default_rng(0)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if len(texts) == 1:
            return self._embedder.embed(texts)
        shape = (len(texts), 1)
        share = self._random.uniform(0.5, 1.0, shape).astype(np.float32)
        one, other = (self._random.integers(len(self._vectors), size=len(texts)) for _ in range(2))
        mixed = self._vectors[one] * share + self._vectors[other] * (1 - share)
        mixed += self._random.normal(scale=_NOISE, size=mixed.shape).astype(np.float32)
        unit: NDArray[np.float32] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
        return unit


def embedding_rates(corpus: str, folder: Path) -> dict[str, Any]:
    """Chunks a second of the model alone, all sorted by length, and of an ingest.

    Leaves the vectors in the folder.
    """
    embedder, real = _embedder(), _real(corpus)[:_EMBEDDED]
    texts = [embedded_text(paper, chunk) for paper in real for chunk in chunk_paper(paper)]
    embedder.embed(texts[:64])
    started = time.perf_counter()
    np.save(folder / "vectors.npy", embedder.embed(texts))
    alone = len(texts) / (time.perf_counter() - started)
    shutil.rmtree(folder / "real", ignore_errors=True)
    with Store.create(folder / "real", embedder) as store:
        started = time.perf_counter()
        report = store.ingest(real)
        whole = report.chunks / (time.perf_counter() - started)
    return {"alone": alone, "ingest": whole}


def measure(corpus: str, scratch: Path, size: int) -> dict[str, Any]:
    """Make an index of so many papers, and time what is done with it."""
    real, folder = _real(corpus), scratch / str(size)
    embedder = Mixed(_embedder(), np.load(scratch / "vectors.npy"))
    shutil.rmtree(folder, ignore_errors=True)
    started = time.perf_counter()
    course: list[tuple[int, float, float]] = []

    def note(done: int) -> None:
        course.append((done, time.perf_counter() - started, _own_memory()))

    with Store.create(folder, embedder) as store:
        store.ingest(papers_like(real, 0, size), progress=note)
    seconds = time.perf_counter() - started
    memory = [megabytes for _, _, megabytes in course]
    row: dict[str, Any] = {
        "papers": size,
        "course": course,
        "papers a second": size / seconds,
        "most memory of the first tenth, MB": max(memory[: max(1, len(memory) // 10)]),
        "most memory, MB": max(memory),
    }
    for part in sorted(folder.iterdir()):
        files = part.rglob("*") if part.is_dir() else [part]
        row[f"{part.name} GB"] = sum(f.stat().st_size for f in files if f.is_file()) / 1e9
    started = time.perf_counter()
    with Store.create(folder, embedder) as store:
        store.ingest(papers_like(real, size, size + 100))
    row["add 100, s"] = time.perf_counter() - started
    return row


def search(corpus: str, scratch: Path, size: int) -> dict[str, Any]:
    """Open an index in this process and search it."""
    real, folder, embedder = _real(corpus), scratch / str(size), _embedder()
    queries = [paper.title for paper in real[:_QUERIES]]
    embedder.embed(queries[:1])
    row: dict[str, Any] = {}
    row |= _timed(
        "cold open and search", [_cold(folder, embedder, q) for q in queries[-_COLD_QUERIES:]]
    )
    started = time.perf_counter()
    with Store.open(folder, embedder) as store:
        row["open, ms"] = 1e3 * (time.perf_counter() - started)
        some = {
            "search": None,
            "search of 5 years": filters(year="2000..2004"),
            "search of an author": filters(authors=["Author 77"]),
            "search of a category": filters(where=["category=c3"]),
        }
        for name, where in some.items():
            times = []
            for query in queries:
                started = time.perf_counter()
                store.search(query, 8, where)
                times.append(1e3 * (time.perf_counter() - started))
            row |= _timed(name, times)
    row["memory to search, MB"] = _own_memory()
    return row


def _real(corpus: str) -> list[Paper]:
    return [paper for paper in read_papers([corpus]) if isinstance(paper, Paper)]


def _embedder() -> MiniLMEmbedder:
    return MiniLMEmbedder(resolve(EMBEDDING_MODEL, load_settings().models_dir))


def _cold(folder: Path, embedder: MiniLMEmbedder, query: str) -> float:
    """Milliseconds to open an index and to search it, with none of its files in memory."""
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)
    started = time.perf_counter()
    with Store.open(folder, embedder) as store:
        store.search(query)
    return 1e3 * (time.perf_counter() - started)


def _timed(name: str, times: Sequence[float]) -> dict[str, float]:
    return {
        f"{name}, p50 ms": statistics.median(times),
        f"{name}, p95 ms": statistics.quantiles(times, n=20)[-1],
    }


def _own_memory() -> float:
    """Megabytes of this process that are not files: what it takes from others."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1e3


def chart(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw time to search by size, and rate and memory of the largest ingest."""
    figure = matplotlib.figure.Figure(figsize=(11, 3.4), layout="constrained")
    times, rates, memory = figure.subplots(1, 3)
    sizes = [row["papers"] for row in rows]
    for kind, style in (("p50", "o-"), ("p95", "o--")):
        times.plot(sizes, [row[f"search, {kind} ms"] for row in rows], style, label=kind)
    times.plot(list(_TARGETS), list(_TARGETS.values()), "kv", label="target of p95")
    times.set(xscale="log", yscale="log", xlabel="papers", title="Search, ms")
    for formatter in (times.yaxis.set_major_formatter, times.yaxis.set_minor_formatter):
        formatter(matplotlib.ticker.ScalarFormatter())
    times.legend()
    papers, seconds, megabytes = np.array(rows[-1]["course"]).T
    marks = np.linspace(0, len(papers) - 1, 60).astype(int)
    rates.plot(papers[marks[1:]], np.diff(papers[marks]) / np.diff(seconds[marks]))
    rates.set(xlabel="papers in the index", title="Papers a second (vectors given)")
    memory.plot(papers, megabytes)
    memory.set(xlabel="papers in the index", title="Memory while ingesting, MB")
    for axes in (rates, memory):
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter())
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", help="papers to make the others of; any format of `ingest`")
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--folder", type=Path, default=Path("scale"), help="room for the indexes")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    rates = in_its_own_process(embedding_rates, options.corpus, options.folder)
    console.print(
        f"chunks a second: {rates['alone']:.0f} by the model alone, "
        f"{rates['ingest']:.0f} by an ingest"
    )
    for size in options.sizes:
        row = in_its_own_process(measure, options.corpus, options.folder, size)
        row |= in_its_own_process(search, options.corpus, options.folder, size)
        (options.folder / f"{size}.json").write_text(json.dumps(row))
    found = [json.loads(path.read_text()) for path in options.folder.glob("*.json")]
    rows = sorted(found, key=lambda row: int(row["papers"]))
    table = Table("", *(f"{row['papers']:,}" for row in rows))
    for name in rows[0]:
        if name not in {"papers", "course"}:
            table.add_row(name, *(f"{row[name]:,.3g}" for row in rows))
    console.print(table)
    chart(rows, options.folder / "scale.svg")


def in_its_own_process(
    task: Callable[..., dict[str, Any]], corpus: str, *arguments: object
) -> dict[str, Any]:
    """Call with the corpus where nothing is in memory yet."""
    fresh = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, fresh) as process:
        return process.submit(task, corpus, *arguments).result()


if __name__ == "__main__":
    main()
