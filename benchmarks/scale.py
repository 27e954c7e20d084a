"""An index of ten thousand to a million papers: how fast it is made, searched and added to.

    python -m benchmarks.scale CORPUS.jsonl 10000 100000 1000000 --folder SCRATCH

The papers are made of real ones: sentences of one abstract in another order, under its title with a
number; their vectors are mixtures of the real chunks' vectors with noise, so that the time to embed
can be left out (it is measured by itself, on the real papers). Prints a table and writes a chart.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from assistant.models import resolve
from assistant.settings import EMBEDDING_MODEL, load_settings
from vectorstore import MiniLMEmbedder, Paper, Store, read_papers
from vectorstore.chunking import chunk_paper
from vectorstore.filters import filters
from vectorstore.writing import embedded_text

_QUERIES = 100
_NOISE = 0.02


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


def embedding_rates(
    embedder: MiniLMEmbedder, real: Sequence[Paper], folder: Path
) -> dict[str, Any]:
    """Chunks a second of the model alone, all sorted by length, and of an ingest."""
    texts = [embedded_text(paper, chunk) for paper in real for chunk in chunk_paper(paper)]
    embedder.embed(texts[:64])
    started = time.perf_counter()
    vectors = embedder.embed(texts)
    alone = len(texts) / (time.perf_counter() - started)
    shutil.rmtree(folder, ignore_errors=True)
    with Store.create(folder, embedder) as store:
        started = time.perf_counter()
        report = store.ingest(real)
        whole = report.chunks / (time.perf_counter() - started)
    return {"alone": alone, "ingest": whole, "vectors": vectors}


def measure(size: int, real: Sequence[Paper], embedder: Mixed, folder: Path) -> dict[str, Any]:
    """Make an index of so many papers, and time what is done with it."""
    shutil.rmtree(folder, ignore_errors=True)
    started = time.perf_counter()
    peaks = []
    with Store.create(folder, embedder) as store:
        store.ingest(
            papers_like(real, 0, size),
            progress=lambda _: peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss),
        )
    seconds = time.perf_counter() - started
    row: dict[str, Any] = {
        "papers": size,
        "papers a second": size / seconds,
        "peak MB at a tenth": peaks[len(peaks) // 10] / 1e3,
        "peak MB": peaks[-1] / 1e3,
    }
    for part in sorted(folder.iterdir()):
        files = part.rglob("*") if part.is_dir() else [part]
        row[f"{part.name} GB"] = sum(f.stat().st_size for f in files if f.is_file()) / 1e9
    started = time.perf_counter()
    with Store.create(folder, embedder) as store:
        store.ingest(papers_like(real, size, size + 100))
    row["add 100, s"] = time.perf_counter() - started
    return row


def search(real: Sequence[Paper], embedder: MiniLMEmbedder, folder: Path) -> dict[str, Any]:
    """Open an index in this process and search it."""
    started = time.perf_counter()
    row: dict[str, Any] = {}
    with Store.open(folder, embedder) as store:
        row["open, ms"] = 1e3 * (time.perf_counter() - started)
        queries = [paper.title for paper in real[:_QUERIES]]
        embedder.embed(queries[:1])
        started = time.perf_counter()
        store.search("a question that was not asked before")
        row["first search, ms"] = 1e3 * (time.perf_counter() - started)
        some = {
            "": None,
            " of 5 years": filters(year="2000..2004"),
            " of an author": filters(authors=["Author 77"]),
            " of a category": filters(where=["category=c3"]),
        }
        for name, where in some.items():
            times = []
            for query in queries:
                started = time.perf_counter()
                store.search(query, 8, where)
                times.append(1e3 * (time.perf_counter() - started))
            row[f"search{name}, p50 ms"] = statistics.median(times)
            row[f"search{name}, p95 ms"] = statistics.quantiles(times, n=20)[-1]
    row["searching, peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", help="papers to make the others of; any format of `ingest`")
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--folder", type=Path, default=Path("scale"), help="room for the indexes")
    parser.add_argument("--only-search", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    real = [paper for paper in read_papers([options.corpus]) if isinstance(paper, Paper)]
    settings = load_settings()
    embedder = MiniLMEmbedder(resolve(EMBEDDING_MODEL, settings.models_dir))
    if options.only_search:
        sys.stdout.write(json.dumps(search(real, embedder, options.folder)))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    rates = embedding_rates(embedder, real[:1_000], options.folder / "real")
    console = Console()
    console.print(
        f"chunks a second: {rates['alone']:.0f} by the model alone, "
        f"{rates['ingest']:.0f} by an ingest"
    )
    rows = []
    for size in options.sizes:
        folder = options.folder / str(size)
        row = measure(size, real, Mixed(embedder, rates["vectors"]), folder)
        # A process of its own: what is open is not yet in its memory.
        command = [sys.executable, "-m", "benchmarks.scale", options.corpus]
        command += ["--folder", str(folder), "--only-search"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        row |= json.loads(done.stdout)
        console.print_json(data=row)
        rows.append(row)
    table = Table("", *(f"{row['papers']:,}" for row in rows))
    for name in list(rows[0])[1:]:
        table.add_row(name, *(f"{row[name]:,.3g}" for row in rows))
    console.print(table)


if __name__ == "__main__":
    main()
