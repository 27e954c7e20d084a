"""The check is measured against claims whose truth is known, and every claim counts once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assistant.errors import QuestionFileError
from assistant.quality.claims import (
    HEADER,
    CheckedClaim,
    check_claims,
    check_sentence,
    claims_table,
    read_claims,
)
from tests.fakes import PAPERS
from vectorstore import Paper

LARCH = PAPERS[0]
QUOTE = "Larch answers in 5.7 seconds instead of 38"
PAPERS_BY_NAME = dict.fromkeys((LARCH.id, LARCH.title), LARCH)
ROW = {"sentence": "Larch answers in 5.7 seconds.", "paper": LARCH.title, "label": "supported"}


@dataclass(frozen=True)
class Checked:
    verdict: str
    reason: str
    spans: tuple[tuple[int, int], ...]


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "claims.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def checked(
    folder: Path, *rows: Any, spans: tuple[tuple[int, int], ...] = ()
) -> list[CheckedClaim]:
    """Claims, checked by what each one's sentence says should come out."""

    def check(sentence: str, paper: Paper) -> Checked:
        assert paper is LARCH
        return Checked(sentence, "because", spans)

    return list(check_claims(read_claims(written(folder, *rows)), PAPERS_BY_NAME, check))


def table(found: list[CheckedClaim]) -> dict[str, dict[str, str]]:
    return {line[0]: dict(zip(HEADER[1:], line[1:], strict=True)) for line in claims_table(found)}


def test_verdicts_are_counted_by_label_and_type_and_summed_up(tmp_path: Path) -> None:
    wrong = {"paper": LARCH.title, "label": "unsupported"}
    right = {"paper": LARCH.id, "label": "supported"}
    found = checked(
        tmp_path,
        {**wrong, "type": "negation", "sentence": "supported"},
        {**wrong, "type": "negation", "sentence": "contradicted"},
        {**wrong, "type": "scope", "sentence": "supported"},
        {**right, "type": "light", "sentence": "supported"},
        {**right, "type": "heavy", "sentence": "not_found"},
        {**right, "sentence": "elsewhere", "paper": "no such paper"},
    )
    lines = table(found)
    assert lines["unsupported: negation"]["shown"] == "1 of 2 (50%)"
    assert lines["unsupported: negation"]["contradicted"] == "1 of 2 (50%)"
    assert lines["unsupported: negation, direction, number, swap"]["shown"] == "1 of 2 (50%)"
    assert lines["unsupported: all"]["shown"] == "2 of 3 (67%)"
    assert lines["supported: without heavy"]["shown"] == "1 of 1 (100%)"
    assert lines["supported: all"]["not found"] == "1 of 2 (50%)"
    assert "unsupported: swap" not in lines
    assert float(lines["supported: all"]["CPU ms a sentence"]) >= 0


def test_a_claim_is_covered_if_all_its_spans_are_cited(tmp_path: Path) -> None:
    start = LARCH.abstract.index(QUOTE)
    end = start + len(QUOTE)
    both = {**ROW, "type": "merge", "span": [QUOTE, "States take 9 MB per page"]}
    one, none = {**ROW, "span": QUOTE}, {**ROW, "type": "none"}
    for spans, share in (
        (((start, end),), "1 of 2 (50%)"),
        (((start, start + 10), (start + 10, end)), "1 of 2 (50%)"),
        (((start + 1, end),), "0 of 2 (0%)"),
        (((0, len(LARCH.abstract)),), "2 of 2 (100%)"),
    ):
        lines = table(checked(tmp_path, both, one, none, spans=spans))
        assert lines["supported: all"]["spans cited"] == share
        assert lines["supported: none"]["spans cited"] == ""


def test_the_row_of_a_claim_says_why_and_quotes_the_abstract(tmp_path: Path) -> None:
    start = LARCH.abstract.index(QUOTE)
    row = {**ROW, "id": "c7", "span": [QUOTE]}
    (found,) = checked(tmp_path, row, spans=((start, start + len(QUOTE)),))
    fields = found.as_dict()
    assert fields["quotes"] == [QUOTE]
    assert (fields["id"], fields["reason"], fields["covered"]) == ("c7", "because", True)
    assert (fields["paper"], fields["label"]) == (LARCH.title, "supported")


def test_sentences_that_answers_would_show_count_as_shown(tmp_path: Path) -> None:
    claims = read_claims(
        written(tmp_path, ROW, {**ROW, "sentence": "Larch answers in 6.1 seconds."})
    )
    right, wrong = check_claims(claims, PAPERS_BY_NAME, check_sentence)
    assert right.shown
    assert not wrong.shown
    assert "6.1" in wrong.reason


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{", ":2: not a claim"),
        ("[1]", ":2: not a claim (not a JSON object)"),
        ({**ROW, "sentence": " "}, ":2: not a claim (sentence is missing)"),
        ({**ROW, "paper": None}, ":2: not a claim (paper is missing)"),
        ({**ROW, "label": "maybe"}, "label must be supported or unsupported"),
        ({**ROW, "span": 7}, ":2: not a claim"),
    ],
)
def test_what_is_no_claim_is_named_with_its_line(tmp_path: Path, row: Any, complaint: str) -> None:
    with pytest.raises(QuestionFileError) as caught:
        read_claims(written(tmp_path, ROW, row))
    assert complaint in str(caught.value)


def test_the_claims_of_the_repository_can_be_read() -> None:
    claims = read_claims(Path(__file__).resolve().parent.parent / "quality" / "claims.jsonl")
    supported = [claim for claim in claims if claim.supported]
    assert (len(claims), len(supported)) == (320, 160)
    assert all(claim.type for claim in claims)
    assert {bool(claim.spans) for claim in supported} == {True}


def test_a_file_without_claims_is_refused(tmp_path: Path) -> None:
    for path in (written(tmp_path, ""), tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(QuestionFileError):
            read_claims(path)
