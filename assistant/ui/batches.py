"""Batches that run while nobody looks: each in a folder of its own, seen again after a reload.

A folder holds the questions, the answers as ``batch`` writes them, and the turns as a page shows
them. Knows nothing of pages; the running and its journal are ``batch``'s.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from assistant.errors import QuestionError
from assistant.question_files.batch import BatchReport, prepare_batch
from assistant.question_files.questions import read_questions
from assistant.streaming.runs import EventSource
from assistant.streaming.turn import Turn, advance, failed
from assistant.types import Answer, Done
from assistant.ui.conversations import Conversations
from vectorstore.filters import Filters

logger = logging.getLogger(__name__)

_TURNS = "batch"
_Key = tuple[str, tuple[str, ...], Filters | None, str]
"""Question, history, filters and collection of a row."""
FORMS = ("jsonl", "csv", "md", "html")
"""Formats that answers are taken along in."""


class Streaming(Protocol):
    """What a batch needs of an assistant."""

    @property
    def store(self) -> Sized:
        """The collection; its length is the number of papers."""

    def stream(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> EventSource:
        """Answer a question."""


class Paused(BaseException):
    """Somebody has stopped the batch; what was answered is kept."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is known of a batch."""

    id: str
    owner: str
    name: str
    """Of the file of questions."""
    created: float
    """Seconds since the epoch."""
    report: BatchReport
    collection: str = ""
    """That is asked."""
    running: bool = False
    failure: Exception | None = None

    @property
    def finished(self) -> bool:
        """Every question has a row."""
        return self.report.done == self.report.total and not self.running

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None if nothing is known of that yet."""
        asked = self.report.done - self.report.resumed
        if not self.running or asked < 1:
            return None
        return self.report.seconds / asked * (self.report.total - self.report.done)


class Batches:
    """All batches below a folder; each belongs to an owner.

    Args:
        folder: Made when the first batch begins.
        assistant_of: Gives the assistant of a collection, or without a name the usual one. It
            answers the questions, those of the visitors between them.
    """

    def __init__(self, folder: Path, assistant_of: Callable[[str], Streaming]) -> None:
        self._folder = folder
        self._assistant_of = assistant_of
        self._lock = threading.Lock()
        self._running: dict[str, _Run] = {}

    def begin(self, questions: Path, *, owner: str = "", collection: str = "") -> Job:
        """Take over a file of questions and begin to answer them.

        Args:
            questions: The file.
            owner: Whose batch it is.
            collection: That is asked, where a row names no other.

        Raises:
            QuestionFileError: The questions cannot be read.
            OSError: The folder cannot be written.
        """
        total = len(read_questions(questions))
        report = BatchReport(total)
        job = Job(secrets.token_hex(8), owner, questions.name, time.time(), report, collection)
        folder = self._folder / job.id
        folder.mkdir(parents=True)
        shutil.copyfile(questions, folder / f"questions{questions.suffix.lower()}")
        note = {
            "owner": owner,
            "name": job.name,
            "created": job.created,
            "total": total,
            "collection": collection,
        }
        (folder / "job.json").write_text(json.dumps(note), encoding="utf-8")
        return self.go_on(job.id, owner=owner)

    def go_on(self, job_id: str, *, owner: str = "") -> Job:
        """Go on with a batch that was paused, or that a restart has interrupted."""
        job = self.job(job_id, owner=owner)
        with self._lock:
            run = self._running.get(job_id)
            if run is None or not run.alive:
                run = _Run(self._folder / job_id, job, self._assistant_of)
                self._running[job_id] = run
                run.start()
        return self.job(job_id, owner=owner)

    def pause(self, job_id: str, *, owner: str = "") -> Job:
        """Stop the question that is being answered, and ask no further one."""
        self.job(job_id, owner=owner)
        with self._lock:
            run = self._running.get(job_id)
        if run is not None:
            run.pause()
        return self.job(job_id, owner=owner)

    def delete(self, job_id: str, *, owner: str = "") -> None:
        """Forget a batch with its answers."""
        self.pause(job_id, owner=owner)
        with self._lock:
            self._running.pop(job_id, None)
        shutil.rmtree(self._folder / job_id)

    def jobs(self, *, owner: str = "") -> tuple[Job, ...]:
        """The batches of an owner, the newest first."""
        found = [self._look(path.parent) for path in self._folder.glob("*/job.json")]
        mine = [job for job in found if job is not None and job.owner == owner]
        return tuple(sorted(mine, key=lambda job: -job.created))

    def job(self, job_id: str, *, owner: str = "") -> Job:
        """One batch.

        Raises:
            QuestionError: There is none of this name.
        """
        found = next((job for job in self.jobs(owner=owner) if job.id == job_id), None)
        if found is None:
            raise QuestionError("This batch is not here any more.", hint="begin it again")
        return found

    def turns(self, job_id: str, *, owner: str = "") -> tuple[Turn, ...]:
        """What was answered so far, in the order of the questions."""
        self.job(job_id, owner=owner)
        with closing(_turns(self._folder / job_id)) as kept:
            return kept.turns(_TURNS)

    def write(self, job_id: str, form: str, *, owner: str = "") -> str:
        """The answers so far in a format of ``FORMS``, as ``assistant batch`` writes them.

        Raises:
            KeyError: There is no such format.
        """
        if form not in FORMS:
            raise KeyError(form)
        answered = {turn.number: turn for turn in self.turns(job_id, owner=owner)}
        questions = _questions(self._folder / job_id)
        numbers = _numbers(questions)
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / f"answers.{form}"
            with prepare_batch(questions, target) as batch:
                batch.run(lambda collection: _Replay(answered, numbers, collection))
            return target.read_text(encoding="utf-8")

    def _look(self, folder: Path) -> Job | None:
        run = self._running.get(folder.name)
        if run is not None:
            return run.job
        try:
            note = json.loads((folder / "job.json").read_text(encoding="utf-8"))
            with closing(_turns(folder)) as kept:
                turns = kept.turns(_TURNS)
            report = BatchReport(int(note["total"]))
            if "counts" in note:
                report = replace(report, **note["counts"])
            else:
                for turn in turns:
                    report = report.counting(_status(turn))
            return Job(
                folder.name,
                note["owner"],
                note["name"],
                float(note["created"]),
                report,
                note.get("collection", ""),
            )
        except (OSError, ValueError, KeyError):
            logger.warning("no batch in %s", folder, exc_info=True)
            return None


class _Run:
    """A batch at work, on a thread of its own."""

    def __init__(self, folder: Path, job: Job, assistant_of: Callable[[str], Streaming]) -> None:
        self.job = replace(job, running=True, failure=None)
        self._folder = folder
        self._assistant_of = assistant_of
        self._paused = threading.Event()
        self._stream: EventSource | None = None
        self._thread = threading.Thread(target=self._work, name="page-batch", daemon=True)
        self._turns = _turns(folder)
        self._numbers = _numbers(_questions(folder))

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def pause(self) -> None:
        self._paused.set()
        if self._stream is not None:
            self._stream.close()
        self._thread.join()

    def _work(self) -> None:
        failure: Exception | None = None
        try:
            questions, answers = _questions(self._folder), self._folder / "answers.jsonl"
            with prepare_batch(questions, answers, resume=True) as batch:
                self._keep_counts(batch.run(self._asker, progress=self._note))
        except Paused:
            logger.info("batch %s is paused", self.job.id)
        except Exception as error:
            logger.debug("batch %s failed", self.job.id, exc_info=True)
            failure = error
        finally:
            self._turns.close()
            self.job = replace(self.job, running=False, failure=failure)

    def _keep_counts(self, report: BatchReport) -> None:
        """What the turns do not tell: rows that could not be asked, and those that are the same."""
        path = self._folder / "job.json"
        note = json.loads(path.read_text(encoding="utf-8"))
        names = ("answered", "abstained", "failed")
        note["counts"] = {name: getattr(report, name) for name in names}
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(note), encoding="utf-8")
        temporary.replace(path)

    def _note(self, report: BatchReport) -> None:
        self.job = replace(self.job, report=report)

    def _asker(self, collection: str) -> _Asker:
        return _Asker(self, collection)

    def ask(
        self, question: str, history: Sequence[str], where: Filters | None, collection: str
    ) -> Answer:
        """Ask a question of the collection that its row names, or the batch; keep the turn."""
        number = self._numbers[question, tuple(history), where, collection]
        turn = Turn(number, question, collection_papers=0)
        started = time.monotonic()

        def elapsed() -> float:
            return time.monotonic() - started

        if self._paused.is_set():
            raise Paused
        try:
            assistant = self._assistant_of(collection or self.job.collection)
            turn = replace(turn, collection_papers=len(assistant.store))
            with closing(assistant.stream(question, history=history, where=where)) as stream:
                self._stream = stream
                for event in () if self._paused.is_set() else stream:
                    turn = advance(turn, event, elapsed_seconds=elapsed())
                    if isinstance(event, Done):
                        self._turns.keep(_TURNS, turn)
                        return event.answer
        except Exception as error:
            turn = failed(turn, str(error), hint="", elapsed_seconds=elapsed())
            self._turns.keep(_TURNS, turn)
            raise
        raise Paused


@dataclass(frozen=True, slots=True)
class _Asker:
    """The rows that name a collection, or name none, asked as of an assistant."""

    run: _Run
    collection: str

    def ask(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> Answer:
        return self.run.ask(question, history, where, self.collection)


@dataclass(frozen=True, slots=True)
class _Replay:
    """Answers what was answered already."""

    answered: Mapping[int, Turn]
    numbers: Mapping[_Key, int]
    collection: str

    def ask(
        self,
        question: str,
        *,
        history: Sequence[str] = (),
        where: Filters | None = None,
    ) -> Answer:
        turn = self.answered.get(self.numbers[question, tuple(history), where, self.collection])
        if turn is None or turn.answer is None:
            reason = turn.message if turn else "It was not asked yet."
            raise QuestionError(reason, hint="go on with the batch")
        return turn.answer


def _turns(folder: Path) -> Conversations:
    return Conversations(folder / "turns.sqlite3")


def _questions(folder: Path) -> Path:
    return next(folder.glob("questions.*"))


def _numbers(questions: Path) -> dict[_Key, int]:
    """The number of each question, from 1; of those that are the same, the last one's."""
    return {
        (each.text, each.history, each.where, each.collection): number
        for number, each in enumerate(read_questions(questions), start=1)
    }


def _status(turn: Turn) -> str:
    return turn.answer.status if turn.answer else "error"
