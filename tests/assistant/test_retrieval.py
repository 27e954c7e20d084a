"""The measures are those of the field, and a file that is wrong is named with its line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import QuestionFileError
from assistant.quality.retrieval import Judged, measure, read_judged
from vectorstore import Chunk, Paper, Passage

IDS = [f"p{n}" for n in range(30)]


class Fixed:
    """An index that finds the same papers in the same order, whatever the query."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids

    def search(self, query: str, top_k: int = 8) -> tuple[Passage, ...]:
        return tuple(
            Passage(Paper(key, "T", "A."), Chunk("c", key, 0, 0, 2, "A."), rank, 0.0, None)
            for rank, key in enumerate(self.ids[:top_k], start=1)
        )


def by_hand(found: list[str], grades: dict[str, int]) -> dict[str, float]:
    def gain(ranked: list[int]) -> float:
        return sum(grade / math.log2(rank + 2) for rank, grade in enumerate(ranked[:10]))

    relevant = {key for key, grade in grades.items() if grade}
    first = next((rank for rank, key in enumerate(found, start=1) if key in relevant), None)
    return {
        "nDCG@10": gain([grades.get(key, 0) for key in found])
        / gain(sorted(grades.values(), reverse=True)),
        "R@5": len(relevant & set(found[:5])) / len(relevant),
        "R@10": len(relevant & set(found[:10])) / len(relevant),
        "R@100": len(relevant & set(found)) / len(relevant),
        "RR": 1 / first if first else 0.0,
    }


@given(
    st.lists(st.sampled_from(IDS), unique=True, min_size=1),
    st.dictionaries(st.sampled_from(IDS), st.integers(0, 2), min_size=1).filter(
        lambda grades: any(grades.values())
    ),
)
def test_the_measures_agree_with_their_definitions(
    found: list[str], grades: dict[str, int]
) -> None:
    report = measure(Fixed(found), Judged({"q": "text"}, {"q": grades}))
    assert report.values == pytest.approx(by_hand(found, grades))
    assert 0 <= report.median_seconds <= report.p95_seconds


def files(folder: Path, queries: str, qrels: str) -> tuple[Path, Path]:
    paths = folder / "queries.jsonl", folder / "qrels.tsv"
    for path, text in zip(paths, (queries, qrels), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


QUERIES = "".join(json.dumps({"_id": key, "text": f"Query {key}"}) + "\n" for key in "abc")
HEADER = "query-id\tcorpus-id\tscore\n"


def test_queries_without_a_relevant_paper_do_not_count(tmp_path: Path) -> None:
    judged = read_judged(*files(tmp_path, QUERIES, f"{HEADER}a\tp1\t1\na\tp2\t0\nb\tp1\t0\n"))
    assert judged.queries == {"a": "Query a"}
    assert judged.grades == {"a": {"p1": 1, "p2": 0}}


@pytest.mark.parametrize(
    ("queries", "qrels", "complaint"),
    [
        (QUERIES, f"{HEADER}a\tp1\tyes\n", r"qrels\.tsv:2: .*yes"),
        (QUERIES, f"{HEADER}a\tp1\n", r"qrels\.tsv:2: "),
        (QUERIES, "a\tp1\t1\nb\tp1\t1\n", r"qrels\.tsv:2: .*score"),
        (QUERIES, f"{HEADER}d\tp1\t1\n", '"d" is judged and has no text'),
        (QUERIES, HEADER, "no query has a relevant paper"),
        (QUERIES + "{\n", f"{HEADER}a\tp1\t1\n", r"queries\.jsonl:4: "),
        (QUERIES + '{"_id": "d"}\n', f"{HEADER}a\tp1\t1\n", r"queries\.jsonl:4: .*text"),
        (QUERIES + '{"_id": "d", "text": " "}\n', f"{HEADER}a\tp1\t1\n", r"queries\.jsonl:4: "),
        ("[]\n", f"{HEADER}a\tp1\t1\n", r"queries\.jsonl:1: "),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(
    tmp_path: Path, queries: str, qrels: str, complaint: str
) -> None:
    with pytest.raises(QuestionFileError, match=complaint) as caught:
        read_judged(*files(tmp_path, queries, qrels))
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(QuestionFileError, match="nowhere"):
        read_judged(tmp_path / "nowhere.jsonl", files(tmp_path, QUERIES, HEADER)[1])
