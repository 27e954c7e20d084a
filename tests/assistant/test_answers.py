"""Files of answers: every format gives back what went in, and nothing in them runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

from assistant.errors import QuestionFileError
from assistant.question_files.batch import run_batch
from assistant.question_files.questions import Question, read_questions
from tests.fakes import EchoAssistant

# Files are written for each example, and how fast that is is no promise of ours.
patient = settings(max_examples=settings().max_examples * 2 // 5)
texts = st.text(max_size=20)
hostile = st.builds(str.__add__, st.sampled_from(["=", "+", "-", "@", "\t", "'", "_x0041_"]), texts)
cells = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | hostile | texts
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
)  # fmt: skip
rows = st.lists(st.fixed_dictionaries({"a": cells, "=b": cells}), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


def answered(folder: Path, columns: Sequence[dict[str, Any]], ending: str) -> Path:
    lines = [json.dumps({"question": f"q{n}", **row}) for n, row in enumerate(columns)]
    (folder / "q.jsonl").write_text("\n".join(lines), encoding="utf-8")
    run_batch(EchoAssistant(), folder / "q.jsonl", folder / f"a{ending}", force=True)
    return folder / f"a{ending}"


def held(value: Any) -> Any:
    """As UTF-8 can hold it."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


@patient
@given(columns=rows)
def test_a_spreadsheet_holds_every_value_and_no_formula(
    folder: Path, columns: list[dict[str, Any]]
) -> None:
    path = answered(folder, columns, ".xlsx")
    book = load_workbook(path)
    for line in book.worksheets[0].iter_rows():
        assert all(cell.data_type != "f" for cell in line)
        active = [c for c in line if isinstance(c.value, str) and c.value[:1] in {*"=+-@"}]
        assert all(cell.quotePrefix for cell in active)
    read = read_questions(path)
    assert [question.text for question in read] == [f"q{n}" for n in range(len(columns))]
    for question, row in zip(read, columns, strict=True):
        for name, value in row.items():
            wanted = held_in_sheet(value)
            # Sheets hold 15 digits of a number.
            assert question.columns[name] == (
                pytest.approx(wanted) if isinstance(wanted, float) else wanted
            )
            assert type(question.columns[name]) is type(wanted) or isinstance(value, float)


def held_in_sheet(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in value) or None


@patient
@given(columns=rows)
def test_parquet_gives_back_every_value_and_the_whole_contract(
    folder: Path, columns: list[dict[str, Any]]
) -> None:
    path = answered(folder, columns, ".parquet")
    table = pq.read_table(path)
    kinds = {name: {type(row[name]) for row in columns} - {type(None)} for name in ("a", "=b")}
    for question, row in zip(read_questions(path), columns, strict=True):
        for name, value in row.items():
            alone = len(kinds[name]) < 2 or value is None or isinstance(value, str)
            assert question.columns[name] == (held(value) if alone else json.dumps(value))
    (citation,) = table["citations"][0].as_py()
    text = table["passages"][0].as_py()[0]["text"]
    assert citation["quote"] == text[citation["start"] : citation["end"]]


@patient
@given(columns=rows)
def test_json_lines_and_csv_keep_every_column(folder: Path, columns: list[dict[str, Any]]) -> None:
    for question, row in zip(
        read_questions(answered(folder, columns, ".jsonl")), columns, strict=True
    ):
        assert {name: question.columns[name] for name in row} == row
    with answered(folder, columns, ".csv").open(encoding="utf-8", newline="") as file:
        assert [row["question"] for row in csv.DictReader(file)] == [
            f"q{n}" for n in range(len(columns))
        ]


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@patient
@given(columns=rows, question=texts)
def test_html_is_text_whatever_stands_in_it(
    folder: Path, columns: list[dict[str, Any]], question: str
) -> None:
    evil = f"<script>boom()</script><img src=x onerror=boom()>\"'{question}"
    path = answered(
        folder, [{**row, "question": f"a {evil}", evil: evil} for row in columns], ".html"
    )
    page = Tags(path.read_text(encoding="utf-8"))
    assert not {"script", "img", "iframe"} & {tag for tag, _ in page.seen}
    assert not any(name.startswith("on") for _, attributes in page.seen for name in attributes)
    assert not any((a.get("href") or "#")[0] != "#" for _, a in page.seen)


def test_html_shows_the_quotation_of_each_marker(folder: Path) -> None:
    page = Tags(answered(folder, [{}], ".html").read_text(encoding="utf-8"))
    markers = [a for tag, a in page.seen if a.get("class") == "marker"]
    targets = [a.get("id") for tag, a in page.seen if tag == "blockquote"]
    assert [f"#{target}" for target in targets] == [a["href"] for a in markers] == ["#r1c1"]
    assert "Larch" in " ".join(page.text)


# Question files


def saved(path: Path, table: list[list[Any]]) -> Path:
    book = Workbook()
    for row in table:
        book.active.append(row)
    book.save(path)
    return path


def test_a_spreadsheet_of_questions_is_read(tmp_path: Path) -> None:
    table: list[list[Any]] = [
        ["ID", "Question", "n"],
        [7, "What?", 2.5],
        [None, None, None],
        [8, None, 1],
    ]
    first, second = read_questions(saved(tmp_path / "q.xlsx", table))
    assert first == Question("7", "What?", columns={"n": 2.5})
    assert second.problem == f"{tmp_path / 'q.xlsx'}:4: the question is empty"


def test_parquet_questions_may_have_histories(tmp_path: Path) -> None:
    table = {"question": ["a", "b"], "history": [["x"], None], "n": [float("nan"), 1.0]}
    pq.write_table(pa.table(table), tmp_path / "q.parquet")
    first, second = read_questions(tmp_path / "q.parquet")
    assert (first.history, first.columns["n"]) == (("x",), None)
    assert (second.history, second.columns["n"]) == ((), 1.0)


@pytest.mark.parametrize("ending", [".xlsx", ".parquet"])
@given(data=st.binary(max_size=200))
@patient
def test_any_bytes_are_a_clear_error(folder: Path, data: bytes, ending: str) -> None:
    path = folder / f"bad{ending}"
    path.write_bytes(data)
    with pytest.raises(QuestionFileError) as caught:
        read_questions(path)
    assert str(caught.value).startswith(str(path))
    assert caught.value.hint


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_damaged_workbook_is_a_clear_error(tmp_path: Path, cut: float) -> None:
    path = saved(tmp_path / "q.xlsx", [["question"], *[[f"q{n}"] for n in range(50)]])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(QuestionFileError, match="no workbook"):
        read_questions(path)


def test_the_items_of_a_markdown_list_are_questions(tmp_path: Path) -> None:
    path = tmp_path / "q.md"
    path.write_text(
        "# Title\n\nText.\n\n- One?\n* Two\n  goes on?\n1. Three\\_3?\n   - [ ] Four?\n\nNo.\n"
    )
    assert [q.text for q in read_questions(path)] == ["One?", "Two goes on?", "Three_3?", "Four?"]


one_line = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20)


@patient
@given(questions=st.lists(one_line, min_size=1, max_size=5))
def test_a_markdown_list_gives_back_every_question(folder: Path, questions: list[str]) -> None:
    escaped = ["".join(f"\\{c}" if c in "\\`*_[]" else c for c in each) for each in questions]
    (folder / "q.md").write_text("".join(f"- {each}\n" for each in escaped), encoding="utf-8")
    assert [q.text for q in read_questions(folder / "q.md")] == questions


def test_a_row_chooses_its_papers(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text(
        "question,collection,year,author,where,only_papers\n"
        "a,lungs,2020..,Kim; Doe,upvotes>=5,\nb,,,,,p1; p2\nc,,soon,,,\nd,,,,,\n"
    )
    first, second, bad, plain = read_questions(path)
    assert first.collection == "lungs"
    assert first.where is not None
    assert first.where.years == (2020, None)
    assert first.where.authors == ("Kim", "Doe")
    assert second.where is not None
    assert second.where.ids == ("p1", "p2")
    assert '"soon" is no year' in str(bad.problem)
    assert plain.where is None
    assert len({q.content for q in (first, second, plain)}) == 3
