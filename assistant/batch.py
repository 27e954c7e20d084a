"""A file of questions in, a file of answers out, through kills and interruptions.

Each finished answer goes to a journal beside the answers and is flushed to the disk; the answers
themselves are made from it at the end, in the order of the questions, by one rename. So a run
that is killed loses at most the question it was at, and the answers are whole or absent. Knows
nothing of the terminal and of how a question is answered.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from filelock import FileLock, Timeout

from assistant.errors import USER_ERRORS, AnswersFileError
from assistant.escaping import csv_cell, json_text, markdown_line, markdown_text, shorten
from assistant.questions import Question, history_of, read_questions
from assistant.types import Answer, Timings, Tokens

logger = logging.getLogger(__name__)

Fields = dict[str, Any]
"""The fields of an answer, as ``Answer.as_dict`` gives them."""
_Key = tuple[str, str, tuple[str, ...]]


class Answerer(Protocol):
    """What a batch needs of an `Assistant`."""

    def ask(self, question: str, *, history: Sequence[str] = ()) -> Answer:
        """Answer one question; an abstention is an answer."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How far a run is, in questions, and what became of them."""

    total: int
    answered: int = 0
    abstained: int = 0
    failed: int = 0
    resumed: int = 0
    """Of those done, the ones that an earlier run had finished."""
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Questions that have a row."""
        return self.answered + self.abstained + self.failed

    def counting(self, status: str, *, resumed: bool = False) -> BatchReport:
        """The report with one more question done."""
        return replace(
            self,
            answered=self.answered + (status == "answered"),
            abstained=self.abstained + (status == "abstained"),
            failed=self.failed + (status == "error"),
            resumed=self.resumed + resumed,
        )


def run_batch(
    assistant: Answerer,
    questions_path: str | Path,
    answers_path: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[BatchReport], None] | None = None,
) -> BatchReport:
    """Answer every question of a file; see `prepare_batch` and `Batch.run`.

    Raises:
        QuestionFileError, AnswersFileError: Before any question is asked.
        OSError: The journal or the answers cannot be written (a full disk).
    """
    batch = prepare_batch(questions_path, answers_path, resume=resume, force=force)
    return batch.run(assistant, progress=progress)


def prepare_batch(
    questions_path: str | Path,
    answers_path: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
) -> Batch:
    """Check everything that can be checked before a question is asked.

    Args:
        questions_path: See `read_questions`.
        answers_path: Ends in .jsonl, .csv or .md.
        resume: Keep what an earlier run has answered. A row is the same if its id, question and
            history are; a question that failed is asked again.
        force: Overwrite the answers and the journal of an earlier run.

    Raises:
        QuestionFileError: The questions cannot be read.
        AnswersFileError: The answers have another ending, no folder, or are there already.
    """
    answers = Path(answers_path)
    _check_target(answers, questions_path)
    questions = read_questions(questions_path)
    journal = answers.with_name(answers.name + ".partial.jsonl")
    if resume:
        kept = _kept_answers(answers, journal)
    else:
        kept = {}
        if not force:
            _refuse_overwrite(answers, journal)
    return Batch(questions, answers, journal, kept)


class Batch:
    """A checked run: questions, where the answers go, and the answers that are there already."""

    def __init__(
        self,
        questions: Sequence[Question],
        answers_path: Path,
        journal_path: Path,
        kept: Mapping[_Key, Fields],
    ) -> None:
        self._questions = tuple(questions)
        self._answers_path = answers_path
        self._journal_path = journal_path
        self._answers = dict(kept)
        finished = sum(_key(question) in self._answers for question in self._questions)
        self.report = BatchReport(total=len(self._questions))
        self.pending = sum(q.problem is None for q in self._questions) - finished
        """Questions that the assistant will be asked."""

    def run(
        self,
        assistant: Answerer | None,
        *,
        progress: Callable[[BatchReport], None] | None = None,
    ) -> BatchReport:
        """Answer what is pending and write the answers.

        Args:
            assistant: Asked one question at a time; None will do if nothing is pending.
            progress: Told after each question, those that were answered before among them.

        Returns:
            The counts. A question that fails, for whatever reason, is a row of status "error".

        Raises:
            AnswersFileError: Another process is at the same answers.
            OSError: The disk is full, or the folder cannot be written to.
            KeyboardInterrupt: Passed on; the journal holds every finished answer.
        """
        started = time.perf_counter()
        self.report = BatchReport(total=len(self._questions))
        with self._locked(), _open_journal(self._journal_path, self._answers) as journal:
            for question in self._questions:
                resumed = _key(question) in self._answers
                fields = self._answer(question, assistant, journal)
                self.report = replace(
                    self.report.counting(fields["status"], resumed=resumed),
                    seconds=time.perf_counter() - started,
                )
                if progress is not None:
                    progress(self.report)
        # The journal goes last: a kill between the two leaves both, and loses nothing.
        _replace_file(self._answers_path, self._render())
        self._journal_path.unlink()
        return self.report

    def _answer(self, question: Question, assistant: Answerer | None, journal: BinaryIO) -> Fields:
        """The fields of its answer: kept, or complained of, or asked now and written down."""
        if question.problem is not None:
            return _error_fields(question.text, question.problem)
        key = _key(question)
        if key not in self._answers:
            if assistant is None:
                raise ValueError(f"no assistant, and question {question.id} is pending")
            self._answers[key] = _ask(assistant, question)
            _append(journal, key, self._answers[key])
        return self._answers[key]

    def _rows(self) -> Iterator[tuple[Question, Fields]]:
        for question in self._questions:
            if question.problem is not None:
                yield question, _error_fields(question.text, question.problem)
            else:
                yield question, self._answers[_key(question)]

    def _render(self) -> Iterator[str]:
        return _WRITERS[self._answers_path.suffix.lower()](list(self._rows()))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._answers_path.with_name(f".{self._answers_path.name}.lock")
        try:
            with FileLock(path, timeout=0):
                yield
                path.unlink(missing_ok=True)
        except Timeout as error:
            raise AnswersFileError(
                "another run is writing these answers",
                path=str(self._answers_path),
                hint="wait for it, or give the answers another name",
            ) from error


def _ask(assistant: Answerer, question: Question) -> Fields:
    started = time.perf_counter()
    try:
        return assistant.ask(question.text, history=question.history).as_dict()
    except USER_ERRORS as error:
        reason = str(error)
    except Exception as error:
        # Whatever is wrong with one question must not cost the answers of the others.
        logger.debug("question %s failed", question.id, exc_info=True)
        reason = f"{type(error).__name__}: {error}"
    return _error_fields(question.text, reason, seconds=time.perf_counter() - started)


def _error_fields(question: str, reason: str, *, seconds: float = 0.0) -> Fields:
    answer = Answer(
        question=question,
        text="",
        status="error",
        reason=reason,
        sentences=(),
        citations=(),
        passages=(),
        timings=Timings(None, None, seconds),
        tokens=Tokens(),
        model="",
    )
    return answer.as_dict()


def _key(question: Question) -> _Key:
    return question.id, question.text, question.history


def _check_target(answers: Path, questions_path: str | Path) -> None:
    path = str(answers)
    if answers.suffix.lower() not in _WRITERS:
        raise AnswersFileError(
            f"unknown ending {answers.suffix!r}", path=path, hint="name it .jsonl, .csv or .md"
        )
    if not answers.parent.is_dir():
        raise AnswersFileError("no such folder", path=path, hint=f"mkdir -p {answers.parent}")
    if answers.is_dir():
        raise AnswersFileError("is a folder", path=path, hint="give the name of a file")
    if answers.resolve() == Path(questions_path).resolve():
        raise AnswersFileError(
            "holds the questions; the answers would replace them",
            path=path,
            hint="give the answers another name",
        )


def _refuse_overwrite(answers: Path, journal: Path) -> None:
    if journal.exists():
        raise AnswersFileError(
            "an earlier run was interrupted, its answers so far are there",
            path=str(journal),
            hint="add --resume to go on with it, or --force to start over",
        )
    if answers.exists():
        raise AnswersFileError(
            "is there already",
            path=str(answers),
            hint="give another name, or add --force to overwrite it",
        )


def _kept_answers(answers: Path, journal: Path) -> dict[_Key, Fields]:
    """What an earlier run answered: from its journal, else from its finished JSON Lines."""
    if journal.exists():
        return dict(_read_journal(journal))
    if not answers.exists():
        return {}
    if answers.suffix.lower() != ".jsonl":
        raise AnswersFileError(
            "is finished: there is nothing to resume",
            path=str(answers),
            hint="add --force in place of --resume to ask everything again",
        )
    return dict(_read_finished(answers))


def _read_journal(path: Path) -> Iterator[tuple[_Key, Fields]]:
    for entry in _json_objects(path):
        answer = entry.get("answer")
        if isinstance(answer, dict) and _is_finished(answer):
            yield _key_of(entry, path), answer


def _read_finished(path: Path) -> Iterator[tuple[_Key, Fields]]:
    for row in _json_objects(path):
        if _is_finished(row):
            answer = {name: row[name] for name in ANSWER_FIELDS}
            yield _key_of(row, path), answer


def _key_of(row: Fields, path: Path) -> _Key:
    try:
        return str(row["id"]), str(row["question"]), history_of(row.get("history"))
    except (KeyError, ValueError) as error:
        raise AnswersFileError(
            "was not written by a batch of this program",
            path=str(path),
            hint="give the answers another name",
        ) from error


def _is_finished(fields: Fields) -> bool:
    return fields.keys() >= ANSWER_FIELDS and fields["status"] != "error"


def _json_objects(path: Path) -> Iterator[Fields]:
    """The lines of a file that are whole; a kill or a full disk may have torn the last one."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            value = json.loads(line) if line.strip() else None
        except ValueError:
            logger.warning("%s:%d is torn; its question is asked again", path, number)
            continue
        if isinstance(value, dict):
            yield value


@contextmanager
def _open_journal(path: Path, kept: Mapping[_Key, Fields]) -> Iterator[BinaryIO]:
    """The journal, holding what was kept and nothing torn, open for more."""
    _replace_file(path, (_journal_line(key, fields) for key, fields in kept.items()))
    with path.open("ab") as journal:
        yield journal


def _append(journal: BinaryIO, key: _Key, fields: Fields) -> None:
    journal.write(_journal_line(key, fields).encode())
    journal.flush()
    os.fsync(journal.fileno())


def _journal_line(key: _Key, fields: Fields) -> str:
    identifier, question, history = key
    entry = {"id": identifier, "question": question, "history": history, "answer": fields}
    return json_text(entry) + "\n"


def _replace_file(path: Path, parts: Iterable[str]) -> None:
    """Write a file so that at every moment the old one or the whole new one is there."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _json_rows(rows: Sequence[tuple[Question, Fields]]) -> Iterator[str]:
    for question, fields in rows:
        columns = _renamed(question.columns, {"id", *fields})
        yield json_text({"id": question.id, **columns, **fields}) + "\n"


def _csv_rows(rows: Sequence[tuple[Question, Fields]]) -> Iterator[str]:
    records = [
        (_renamed(question.columns, _CSV_RESERVED), {"id": question.id}, _flat(fields))
        for question, fields in rows
    ]
    inputs = dict.fromkeys(name for columns, _, _ in records for name in columns)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)  # CR LF, as RFC 4180 says
    writer.writerow(["id", *map(csv_cell, inputs), *_CSV_ANSWER_COLUMNS])
    for columns, identifier, answer in records:
        cells = [identifier["id"], *(columns.get(name) for name in inputs), *answer.values()]
        writer.writerow([csv_cell(cell) for cell in cells])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _flat(fields: Fields) -> Fields:
    """An answer in the columns of a table; the passages stay out, they are whole abstracts."""
    nested = {**fields["timings"], **fields["tokens"]}
    values = {**fields, **nested, "citations": fields["citations"] or None}
    return {name: values[name] for name in _CSV_ANSWER_COLUMNS}


def _renamed(columns: Mapping[str, Any], reserved: Iterable[str]) -> Fields:
    """The input columns, with `input_` in front of a name that the answer needs for itself."""
    taken = {*reserved}
    renamed: Fields = {}
    for name, value in columns.items():
        free = name
        while free in taken:
            free = f"input_{free}"
        taken.add(free)
        renamed[free] = value
    return renamed


def _markdown_rows(rows: Sequence[tuple[Question, Fields]]) -> Iterator[str]:
    for question, fields in rows:
        title = markdown_line(shorten(question.text, _HEADING_CHARS)) or "(no question)"
        parts = [f"## {markdown_line(question.id)}. {title}", *_markdown_answer(fields)]
        yield "\n\n".join(parts) + "\n\n"


def _markdown_answer(fields: Fields) -> Iterator[str]:
    if fields["standalone_question"]:
        yield f"Asked as: *{markdown_line(fields['standalone_question'])}*"
    if fields["status"] != "answered":
        label = {"abstained": "No answer", "error": "Failed"}[fields["status"]]
        told = fields["reason"] and fields["reason"] in fields["text"]
        why = "" if told else f" {markdown_line(fields['reason'] or 'no reason given')}"
        yield f"**{label}:**{why}"
    if fields["text"]:
        yield markdown_text(fields["text"])
    for citation in fields["citations"]:
        quote, title = markdown_line(citation["quote"]), markdown_line(citation["title"])
        yield f"> {quote}\n>\n> — \\[{citation['number']}\\] *{title}*"


ANSWER_FIELDS = _error_fields("", "").keys()
"""The names of the contract, which no input column may take."""

_CSV_ANSWER_COLUMNS = (
    "question",
    "status",
    "text",
    "reason",
    "standalone_question",
    "citations",
    "retrieved_seconds",
    "first_text_seconds",
    "total_seconds",
    "reused",
    "prefilled",
    "decoded",
    "model",
)
_HEADING_CHARS = 2_000
"""No question that is answered is longer; what failed for its length need not be shown whole."""
_CSV_RESERVED = {"id", *_CSV_ANSWER_COLUMNS, *ANSWER_FIELDS}
_WRITERS: dict[str, Callable[[Sequence[tuple[Question, Fields]]], Iterator[str]]] = {
    ".jsonl": _json_rows,
    ".csv": _csv_rows,
    ".md": _markdown_rows,
}
