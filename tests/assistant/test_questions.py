"""Question files: nothing of what was written is lost, and every complaint says where."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import QuestionFileError
from assistant.question_files.questions import Question, history_of, read_questions

# A file is written for each example, and how fast that is is no promise of ours.
patient = settings(deadline=None)

# What a person may write: any text but lone surrogates, which no UTF-8 file can hold, and the
# byte order mark, which is no text at the start of a file.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=40)
asked = texts.map(str.strip).filter(bool)
one_line = asked.filter(lambda text: not set(text) & set("\r\n"))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("questions")


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table(rows: list[dict[str, str]], delimiter: str = ",") -> str:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


@patient
@given(questions=st.lists(one_line, min_size=1), ends=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
def test_each_line_of_a_text_file_is_a_question(
    folder: Path, questions: list[str], ends: str
) -> None:
    path = write(folder, "q.txt", ends.join(questions))
    read = read_questions(path)
    assert [q.text for q in read] == questions
    assert [q.id for q in read] == [str(number) for number in range(1, len(questions) + 1)]


@patient
@given(
    rows=st.lists(st.tuples(asked, texts, texts), min_size=1),
    delimiter=st.sampled_from([",", ";", "\t"]),
    header=st.sampled_from(["question", "Question", " QUESTION "]),
)
def test_a_table_gives_back_every_cell(
    folder: Path, rows: list[tuple[str, str, str]], delimiter: str, header: str
) -> None:
    records = [{"topic": t, header: q, "note;,\t": n} for q, t, n in rows]
    read = read_questions(write(folder, "q.csv", table(records, delimiter)))
    assert [q.text for q in read] == [q for q, _, _ in rows]
    assert [dict(q.columns) for q in read] == [{"topic": t, "note;,": n} for _, t, n in rows]
    assert not any(q.problem for q in read)


@patient
@given(
    rows=st.lists(
        st.tuples(asked, st.lists(asked, max_size=3), st.dictionaries(texts, json_values)),
        min_size=1,
    )
)
def test_json_lines_give_back_every_value(
    folder: Path, rows: list[tuple[str, list[str], dict[str, Any]]]
) -> None:
    objects = [
        {
            **{k: v for k, v in more.items() if k not in {"id", "question", "history"}},
            "question": q,
            "history": h,
        }
        for q, h, more in rows
    ]
    content = "\n".join(json.dumps(o, ensure_ascii=False) for o in objects)
    read = read_questions(write(folder, "q.jsonl", content))
    assert [q.text for q in read] == [o["question"] for o in objects]
    assert [list(q.history) for q in read] == [
        [text.strip() for text in o["history"]] for o in objects
    ]
    assert [{**q.columns, "question": q.text} for q in read] == objects


@patient
@given(ids=st.lists(st.none() | st.sampled_from(["1", "2", "1#2", "a"]), min_size=1, max_size=12))
def test_ids_are_unique_and_a_changed_one_is_kept(folder: Path, ids: list[str | None]) -> None:
    lines = [json.dumps({"question": "q", **({} if i is None else {"id": i})}) for i in ids]
    read = read_questions(write(folder, "q.jsonl", "\n".join(lines)))
    assert len({q.id for q in read}) == len(ids)
    for question, given_id in zip(read, ids, strict=True):
        if given_id is not None:
            assert given_id == question.columns.get("input_id", question.id)


@patient
@given(data=st.binary(max_size=300), ending=st.sampled_from([".txt", ".csv", ".tsv", ".jsonl"]))
def test_any_bytes_are_questions_or_a_clear_error(folder: Path, data: bytes, ending: str) -> None:
    path = write(folder, f"q{ending}", data)
    complaint: QuestionFileError | None = None
    questions: tuple[Question, ...] = ()
    try:
        questions = read_questions(path)
    except QuestionFileError as error:
        complaint = error
    assert bool(questions) != bool(complaint)
    assert all(question.text or question.problem for question in questions)
    assert complaint is None or (str(complaint).startswith(str(path)) and complaint.hint)


@pytest.mark.parametrize(
    ("content", "line", "complaint"),
    [
        ('{"question": "a"}\n{"question": \n{"question": "c"}', 2, "not JSON"),
        ('{"question": "a"}\n[]\n{"question": "c"}', 2, "not a JSON object"),
        ('{"question": "a"}\n\n{"question": " "}\n{"question": "c"}', 3, "empty"),
        ('{"question": "a"}\n{"question": 7}\n{"question": "c"}', 2, "no text"),
        ('{"question": "a"}\n{"id": 1}\n{"question": "c"}', 2, "empty"),
        ('{"question": "a"}\n{"question": "b", "id": [1]}\n{"question": "c"}', 2, "id must be"),
        ('{"question": "a"}\n{"question": "b", "history": "x"}\n{"question": "c"}', 2, "history"),
        ('{"question": "a"}\n{"question": "b", "n": NaN}\n{"question": "c"}', 2, "NaN"),
        ('{"question": "a"}\n{"question": "\\ud800"}\n{"question": "c"}', 2, "surrogate"),
        ('{"question": "a"}\n' + "[" * 100_000 + '\n{"question": "c"}', 2, "not JSON"),
    ],
)
def test_one_bad_json_line_costs_only_itself(
    tmp_path: Path, content: str, line: int, complaint: str
) -> None:
    path = write(tmp_path, "q.jsonl", content)
    first, bad, last = read_questions(path)
    assert (first.text, first.problem, last.text, last.problem) == ("a", None, "c", None)
    assert bad.problem is not None
    assert bad.problem.startswith(f"{path}:{line}: ")
    assert complaint in bad.problem


@pytest.mark.parametrize(
    ("content", "line", "complaint"),
    [
        ("id,question\n1,a\n2,b, with a comma\n3,c\n", 3, "double quotes"),
        ('id,question\n1,a\n2,"b" x\n3,c\n', 3, "malformed"),
        ('id,question\n1,a\n"two\nlines",\n3,c\n', 3, "empty"),
        ("id,question\n1,a\n2\n3,c\n", 3, "empty"),
    ],
)
def test_one_bad_table_row_costs_only_itself(
    tmp_path: Path, content: str, line: int, complaint: str
) -> None:
    path = write(tmp_path, "q.csv", content)
    first, bad, last = read_questions(path)
    assert (first.id, first.problem, last.id, last.problem) == ("1", None, "3", None)
    assert bad.problem is not None
    assert bad.problem.startswith(f"{path}:{line}: ")
    assert complaint in bad.problem


@pytest.mark.parametrize(
    ("name", "content", "where", "complaint"),
    [
        ("q.csv", "id,text\n1,a\n", ":1", "no column `question`; found: id, text"),
        ("q.csv", "", ":1", "no column `question`; found: nothing"),
        ("q.csv", "question\n", "", "holds no question"),
        ("q.csv", "question,x,x\na,b,c\n", ":1", "twice"),
        ("q.csv", 'question\na\n"b\nc\n', ":3", "never closed"),
        ("q.jsonl", '{"prompt": "a"}\n', ":1", "no question in prompt"),
        ("q.jsonl", "What?\n", ":1", "not JSON"),
        ("q.txt", " \n\t\n", "", "holds no question"),
        ("q.txt", b"fine\nna\xefve\n", ":2", "not UTF-8 (byte 0xef)"),
        ("q.docx", "What?", "", "unknown ending '.docx'"),
        ("q", "What?", "", "unknown ending ''"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(
    tmp_path: Path, name: str, content: str | bytes, where: str, complaint: str
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(QuestionFileError) as caught:
        read_questions(path)
    assert str(caught.value).startswith(f"{path}{where}: ")
    assert complaint in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["missing.txt", ""])
def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(QuestionFileError):
        read_questions(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_save_is_read(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "q.csv", "Frage;Question;\r\nä;Größe?;\r\n;;\r\n".encode(encoding))
    (question,) = read_questions(path)
    assert (question.text, question.columns["Frage"]) == ("Größe?", "ä")


def test_history_takes_texts_and_objects() -> None:
    assert history_of(["a", {"question": " b ", "answer": "x"}]) == ("a", "b")
    assert history_of(None) == ()


@pytest.mark.parametrize("value", ["a", 1, {}, [1], [""], [{"text": "a"}], [None]])
def test_a_misshapen_history_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="history must be a list"):
        history_of(value)


def test_in_a_table_history_is_a_column_like_any_other(tmp_path: Path) -> None:
    (question,) = read_questions(write(tmp_path, "q.csv", "question,history\na,b\n"))
    assert question == Question("1", "a", columns={"history": "b"})
