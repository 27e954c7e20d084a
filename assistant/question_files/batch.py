"""A file of questions in, a file of answers out, through kills and interruptions.

Each finished answer goes to a journal beside the answers and is flushed to the disk; the answers
themselves are made from it at the end, in the order of the questions, by one rename. So a run
that is killed loses at most the question it was at, and the answers are whole or absent. A question
is recognised by its content, wherever it stands. Knows nothing of the terminal and of how a
question is answered.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from filelock import FileLock, Timeout

from assistant.errors import USER_ERRORS, AnswersFileError, QuestionError
from assistant.question_files.answers import (
    ENDINGS,
    Fields,
    Rows,
    ending_of,
    error_fields,
    note_kinds,
    write_answers,
)
from assistant.question_files.journal import Journal
from assistant.question_files.question_rows import Row
from assistant.question_files.questions import Question, QuestionFile, question_of
from assistant.question_files.spreadsheets import MOST_ROWS
from assistant.types import Answer
from vectorstore.filters import Filters
from vectorstore.types import Workers

logger = logging.getLogger(__name__)

AnsweringWorkers = Workers[list[Question], Question, Fields]

WINDOW = 2_000
"""Questions that are put in order at a time; finding the paper of each takes 10 ms."""


class Answerer(Protocol):
    """What a batch needs of an `Assistant`."""

    def ask(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> Answer:
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
    with prepare_batch(questions_path, answers_path, resume=resume, force=force) as batch:
        return batch.run(answering_all(assistant), progress=progress)


def answering_all(assistant: Answerer) -> Callable[[str], Answerer]:
    """The one assistant that there is; a row that names a collection fails."""

    def assistant_for(collection: str) -> Answerer:
        if collection:
            raise QuestionError(
                f"collection {collection} cannot be asked here",
                hint=f"assistant batch QUESTIONS -o ANSWERS --collection {collection}",
            )
        return assistant

    return assistant_for


def prepare_batch(
    questions_path: str | Path,
    answers_path: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
) -> Batch:
    """Check everything that can be checked before a question is asked.

    What an earlier run of the same command has answered is kept, also if questions were added,
    moved or given other columns since; a question that failed is asked again.

    Args:
        questions_path: See `read_questions`.
        answers_path: Its ending is one of ``ENDINGS``.
        resume: Go on even if questions were changed or taken away; their answers are lost.
        force: Ask everything again, in place of the answers and the journal of an earlier run.

    Raises:
        QuestionFileError: The questions cannot be read.
        AnswersFileError: The answers have another ending, no folder, or are those of other
            questions.
    """
    answers = Path(answers_path)
    _check_target(answers, questions_path)
    questions = QuestionFile(questions_path)
    try:
        return Batch(questions, answers, resume=resume, force=force)
    except BaseException:
        questions.close()
        raise


class Batch:
    """A checked run: questions, where the answers go, and the answers that are there already."""

    def __init__(
        self, questions: QuestionFile, answers: Path, *, resume: bool = False, force: bool = False
    ) -> None:
        self._questions = questions
        self._answers_path = answers
        self._keeps_itself = ending_of(answers) == ".jsonl"
        """The answers hold everything that the journal does."""
        self._resume, self._force = resume, force
        self._kinds: dict[str, set[str]] = {}
        self._started = 0.0
        self._progress: Callable[[BatchReport], None] | None = None
        with closing(self._open_journal()) as journal:
            self.report = BatchReport(total=0)
            self.pending = 0
            """Questions that the assistant will be asked."""
            self._look_over(journal)

    def _look_over(self, journal: Journal) -> None:
        total, found, pending = 0, set[bytes](), set[bytes]()
        for question in self._questions:
            total += 1
            note_kinds(self._kinds, question.columns)
            if question.problem is None:
                content = question.content
                (found if content in journal else pending).add(content)
        self.report = BatchReport(total=total)
        self.pending = len(pending)
        if ending_of(self._answers_path) == ".xlsx" and total >= MOST_ROWS:
            raise AnswersFileError(
                f"a sheet holds {MOST_ROWS - 1:,} rows, and there are {total:,} questions",
                path=str(self._answers_path),
                hint="name the answers .parquet or .jsonl",
            )
        if journal.is_foreign:
            raise AnswersFileError(
                "is no journal of this program, and the name of one",
                path=str(journal.path),
                hint="give the answers another name, or add --force to overwrite it",
            )
        if not self._resume and not self._force:
            self._refuse_loss(journal, len(found))

    def _refuse_loss(self, journal: Journal, found: int) -> None:
        """Never overwrite unasked what is not asked again, or was not made here."""
        lost = journal.kept - found
        if lost:
            raise AnswersFileError(
                f"an earlier run has answered questions that are not in this file: {lost:,}",
                path=str(journal.path if journal.path.exists() else self._answers_path),
                hint="give another name, or add --resume to let those answers go",
            )
        if self._answers_path.exists() and not journal.is_ours:
            raise AnswersFileError(
                "is there already",
                path=str(self._answers_path),
                hint="give another name, or add --force to overwrite it",
            )

    def run(
        self,
        assistant_for: Callable[[str], Answerer],
        *,
        progress: Callable[[BatchReport], None] | None = None,
        nearest: Callable[[Question], str] | None = None,
        report: Callable[[Rows], None] | None = None,
        workers: AnsweringWorkers | None = None,
    ) -> BatchReport:
        """Answer what is pending and write the answers.

        Args:
            assistant_for: The assistant of a collection, by its name; asked one question at a
                time, and those of one collection after the other.
            progress: Told after each question, those that were answered before among them.
            nearest: The paper closest to a question, by its id; questions on one paper are asked
                one after the other, so that it is read once.
            report: Given the questions with their answers, in the order of the file.
            workers: Do what ``answer_fields`` does, with assistants of their own; without them,
                each question is answered here before the next one is read.

        Returns:
            The counts. A question that fails, for whatever reason, is a row of status "error".

        Raises:
            AnswersFileError: Another process is at the same answers.
            OSError: The disk is full, or the folder cannot be written to.
            KeyboardInterrupt: Passed on; the journal holds every finished answer.
        """
        self._started = time.perf_counter()
        self._progress = progress
        self.report = BatchReport(total=self.report.total)
        with self._locked(), closing(self._open_journal()) as journal:
            journal.open()
            workers = workers or _in_turn(assistant_for)
            with closing(workers(self._asked(journal, nearest))) as answered:
                for same, fields in answered:
                    journal.append(same[0].content, fields)
                    for _ in same:
                        self._count(fields["status"])
            temporary = self._answers_path.with_name(f".{self._answers_path.name}.tmp")
            self._write(temporary, journal)
            if report is not None:
                report(self._rows(journal))
        # The journal goes last: a kill between the two leaves both, and loses nothing.
        temporary.replace(self._answers_path)
        if self._keeps_itself:
            journal.path.unlink()
        return self.report

    def _asked(
        self, journal: Journal, nearest: Callable[[Question], str] | None
    ) -> Iterator[tuple[list[Question], Question]]:
        """The questions of one content together, with the one of them that is asked."""
        underway: dict[bytes, list[Question]] = {}
        questions = iter(self._questions)
        while window := list(itertools.islice(questions, WINDOW)):
            underway = {key: same for key, same in underway.items() if key not in journal}
            pending = self._pending(window, journal, underway)
            for content, same in _ordered(pending, nearest):
                underway[content] = same
                yield same, replace(same[0], columns={})

    def _pending(
        self,
        window: Sequence[Question],
        journal: Journal,
        underway: Mapping[bytes, list[Question]],
    ) -> dict[bytes, list[Question]]:
        """What is to be asked, the questions of one content together; the others are counted."""
        pending: dict[bytes, list[Question]] = {}
        for question in window:
            content = question.content
            if question.problem is not None:
                self._count("error")
            elif content in journal:
                self._count(journal.status(content), resumed=journal.is_earlier(content))
            elif content in underway:
                underway[content].append(question)
            else:
                pending.setdefault(content, []).append(question)
        return pending

    def _count(self, status: str, *, resumed: bool = False) -> None:
        seconds = time.perf_counter() - self._started
        self.report = replace(self.report.counting(status, resumed=resumed), seconds=seconds)
        if self._progress is not None:
            self._progress(self.report)

    def close(self) -> None:
        """Forget the questions."""
        self._questions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _rows(self, journal: Journal) -> Iterator[tuple[Question, Fields]]:
        for question in self._questions:
            if question.problem is not None:
                yield question, error_fields(question.text, question.problem)
            else:
                yield question, journal.fields(question.content)

    def _write(self, path: Path, journal: Journal) -> None:
        with path.open("wb") as file:
            write_answers(file, ending_of(self._answers_path), self._rows(journal), self._kinds)
            file.flush()
            os.fsync(file.fileno())

    def _open_journal(self) -> Journal:
        path = self._answers_path.with_name(self._answers_path.name + ".journal.jsonl")
        finished = self._answers_path if self._keeps_itself else None
        return Journal(path, finished, self._content_of, fresh=self._force)

    def _content_of(self, row: Fields) -> bytes:
        """The key of a row of finished answers."""
        question = question_of(Row(0, row), "", is_table=isinstance(row.get("history"), str))
        if question.problem is not None or "id" not in row:
            raise AnswersFileError(
                "was not written by a batch of this program",
                path=str(self._answers_path),
                hint="give the answers another name",
            )
        return question.content

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


def _ordered(
    pending: dict[bytes, list[Question]], nearest: Callable[[Question], str] | None
) -> list[tuple[bytes, list[Question]]]:
    """What is asked, in the order in which it is: by collection and by the nearest paper."""
    if nearest is None or len(pending) < 2:
        return sorted(pending.items(), key=lambda item: item[1][0].collection)

    def place(item: tuple[bytes, list[Question]]) -> tuple[str, str]:
        question = item[1][0]
        try:
            return question.collection, nearest(question)
        except Exception:  # noqa: BLE001 - whatever is wrong with it becomes its row later
            return question.collection, ""

    # A sort keeps what is equal in the order of the file. Collections first: each is opened once.
    by_collection = sorted(pending.items(), key=lambda item: item[1][0].collection)
    return sorted(by_collection, key=place)


def _in_turn(assistant_for: Callable[[str], Answerer]) -> AnsweringWorkers:
    def answered(
        work: Iterable[tuple[list[Question], Question]],
    ) -> Generator[tuple[list[Question], Fields], None, None]:
        for same, question in work:
            yield same, answer_fields(assistant_for, question)

    return answered


def answer_fields(assistant_for: Callable[[str], Answerer], question: Question) -> Fields:
    """Ask one question; whatever goes wrong with it becomes a row of status "error"."""
    started = time.perf_counter()
    try:
        assistant = assistant_for(question.collection)
        answer = assistant.ask(question.text, history=question.history, where=question.where)
        return answer.as_dict() | {"question": question.text}
    except USER_ERRORS as error:
        reason = str(error)
    except Exception as error:
        # Whatever is wrong with one question must not cost the answers of the others.
        logger.debug("question %s failed", question.id, exc_info=True)
        reason = f"{type(error).__name__}: {error}"
    return error_fields(question.text, reason, seconds=time.perf_counter() - started)


def _check_target(answers: Path, questions_path: str | Path) -> None:
    path = str(answers)
    if ending_of(answers) not in ENDINGS:
        known = f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
        raise AnswersFileError(
            f"unknown ending {answers.suffix!r}", path=path, hint=f"name it {known}"
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
