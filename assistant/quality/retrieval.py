"""How good is the search of an index? Queries and judgements in the layout of BEIR.

Only importer of ``ir_measures``, which computes the measures. Knows nothing of language models.

Reference:
    Thakur et al. (NeurIPS 2021), arXiv:2104.08663, for the layout.
"""

from __future__ import annotations

import csv
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from assistant.errors import QuestionFileError
from vectorstore import Passage

DEPTH = 100
"""Papers that are searched for each query."""

MEASURES = ("nDCG@10", "R@5", "R@10", "R@100", "RR")
"""As ``ir_measures`` names them; RR is the reciprocal rank, whose mean is MRR."""

_QUERIES_HINT = 'one {"_id": "1", "text": "..."} per line'
_QRELS_HINT = "tab-separated, with a first line: query-id, corpus-id, score"


class Searchable(Protocol):
    """What is measured: an index."""

    def search(self, query: str, top_k: int = 8) -> tuple[Passage, ...]:
        """Return passages, best first, one per paper."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Queries whose papers are known."""

    queries: Mapping[str, str]
    """Text by query id; those without a relevant paper are left out, as in the official measure."""
    grades: Mapping[str, Mapping[str, int]]
    """By query id: how relevant a paper is, by paper id; 0 is not."""


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """How well and how fast the papers of some queries are found."""

    queries: int
    values: Mapping[str, float]
    """By name, as in ``MEASURES``; each in [0, 1], the mean over the queries."""
    median_seconds: float
    p95_seconds: float


def read_judged(queries: Path, qrels: Path) -> Judged:
    """Read queries and judgements.

    Args:
        queries: JSON Lines with ``_id`` and ``text``.
        qrels: Tab-separated: ``query-id``, ``corpus-id`` and ``score``, named in the first line.

    Raises:
        QuestionFileError: If one of them cannot be read, with its file and line.
    """
    grades = _read_qrels(qrels)
    texts = _read_queries(queries)
    for key in grades:
        if key not in texts:
            reason = f'the query "{key}" is judged and has no text in {queries}'
            raise QuestionFileError(reason, path=str(qrels), line=None, hint=_QUERIES_HINT)
    wanted = {key: texts[key] for key, papers in grades.items() if any(papers.values())}
    if not wanted:
        reason = "no query has a relevant paper"
        raise QuestionFileError(reason, path=str(qrels), line=None, hint=_QRELS_HINT)
    return Judged(wanted, {key: grades[key] for key in wanted})


def measure(
    index: Searchable, judged: Judged, *, progress: Callable[[int], None] | None = None
) -> RetrievalReport:
    """Search for every query and compare with the judgements.

    Args:
        index: What is measured.
        judged: Queries and the papers that they should find.
        progress: Told how many queries are done.

    Raises:
        StoreError: If the index cannot be searched.
    """
    import ir_measures

    run, seconds = dict[str, dict[str, float]](), []
    for done, (key, text) in enumerate(judged.queries.items(), start=1):
        started = time.perf_counter()
        found = index.search(text, top_k=DEPTH)
        seconds.append(time.perf_counter() - started)
        # By rank, so that papers of equal score keep the order in which they are shown.
        run[key] = {passage.paper.id: 1.0 / passage.rank for passage in found}
        if progress is not None:
            progress(done)
    measures = [ir_measures.parse_measure(name) for name in MEASURES]
    found_values = ir_measures.calc_aggregate(measures, judged.grades, run)
    return RetrievalReport(
        queries=len(run),
        values={str(name): float(found_values[name]) for name in measures},
        median_seconds=statistics.median(seconds),
        p95_seconds=sorted(seconds)[int(0.95 * (len(seconds) - 1))],
    )


def _read_queries(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            key, text = str(row["_id"]), row["text"]
        except (ValueError, TypeError, KeyError) as error:
            reason = f"not a query ({error})"
            raise QuestionFileError(
                reason, path=str(path), line=number, hint=_QUERIES_HINT
            ) from error
        if not isinstance(text, str) or not text.strip():
            raise QuestionFileError(
                "the text is missing", path=str(path), line=number, hint=_QUERIES_HINT
            )
        texts[key] = text
    return texts


def _read_qrels(path: Path) -> dict[str, dict[str, int]]:
    grades: dict[str, dict[str, int]] = {}
    rows = csv.DictReader(_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    for row in rows:
        try:
            grade = int(row["score"])
            grades.setdefault(row["query-id"], {})[row["corpus-id"]] = grade
        except (KeyError, TypeError, ValueError) as error:
            reason = f"not a judgement ({error})"
            raise QuestionFileError(
                reason, path=str(path), line=rows.line_num, hint=_QRELS_HINT
            ) from error
    return grades


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        detail = (isinstance(error, OSError) and error.strerror) or str(error)
        reason = f"cannot be read ({detail.lower()})"
        raise QuestionFileError(
            reason, path=str(path), line=None, hint="check the path and the encoding (UTF-8)"
        ) from error
