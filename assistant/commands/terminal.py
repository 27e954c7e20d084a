"""Answers and progress on a terminal: answers to standard output, the rest to standard error.

Everything that is shown passes through ``plain`` and is never read as markup: titles and answers
are other people's text. Knows nothing of flags and exit codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from assistant.escaping import plain, plain_line
from assistant.question_files.batch import BatchReport
from assistant.types import (
    Answer,
    Citation,
    Done,
    Draft,
    Event,
    Probed,
    Queued,
    Reading,
    Retrieved,
    Verified,
)
from vectorstore import Paper, Passage

_SHOWN_TITLES = 3
_CLOSEST_PAPERS = 3
# A question takes seconds to minutes: the time left is judged from many of them.
_SPEED_PERIOD_SECONDS = 1800.0


class Stream(Protocol):
    """The events of an answer, as they come."""

    def __iter__(self) -> Iterator[Event]:
        """The events; the last one is ``Done``."""

    def close(self) -> None:
        """Stop the model."""


class _Console(Console):
    """A console that leaves it to the caller to end the program when its reader is gone."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False, emoji=False)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    def put(self, text: Text, *, wrap: bool) -> None:
        """Print a line: to a program as it is, to a person with style and whole words."""
        if self.is_terminal:
            self.print(text, soft_wrap=not wrap)
        else:
            # Printing would turn tabs into blanks.
            self.file.write(f"{text.plain}\n")


class Stage:
    """A line on standard error that says what is going on; it goes when it is over."""

    def __init__(self, console: Console, text: str) -> None:
        self._text = plain_line(text)
        self._spinner = Spinner("dots", Text(self._text))
        self._live = Live(self._spinner, console=console, transient=True, redirect_stdout=False)

    def __enter__(self) -> Stage:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Show another text from now on."""
        text = plain_line(text)
        if text != self._text:
            self._text = text
            self._spinner.update(text=Text(text))
            self._live.refresh()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Off the screen for a while: both streams may be one screen."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start(refresh=True)


class Terminal:
    """The two output streams. Colours, bars and stages only where a person is watching."""

    def __init__(self) -> None:
        self._out = _Console()
        self._error = _Console(stderr=True)

    @property
    def is_interactive(self) -> bool:
        """Whether standard output is a terminal."""
        return self._out.is_terminal

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """Print part of the result, to standard output; lines are broken only on a terminal."""
        self._out.put(Text(plain(text), style=style or ""), wrap=True)

    def note(self, text: str, *, style: str = "dim") -> None:
        """Print something about the work, to standard error."""
        self._error.put(Text(plain(text), style=style), wrap=False)

    def remark(self, text: str) -> None:
        """A note that is of use only to a person who is watching."""
        if self._error.is_terminal:
            self.note(text)

    def complain(self, message: str, hint: str | None = None) -> None:
        """Print what is wrong and what to do about it, to standard error."""
        self._error.put(Text.assemble(("error: ", "bold red"), plain(message)), wrap=False)
        if hint:
            self._error.put(Text.assemble(("hint: ", "bold"), plain(hint)), wrap=False)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print rows: aligned for a person, separated by tabs and without header for a program."""
        if not self._out.is_terminal:
            for row in rows:
                self.say("\t".join(plain_line(cell) for cell in row))
            return
        table = Table(*header, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(Text(plain_line(cell)) for cell in row))
        self._out.print(table)

    def stage(self, text: str) -> Stage:
        """Say what is going on, while it does."""
        return Stage(self._error, text)

    @contextmanager
    def counting(self, text: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        """A bar over things done, with their rate; the yielded function takes the number so far."""
        columns = [*_bar_columns(), _RateColumn(unit), TimeRemainingColumn()]
        with self._progress(*columns) as progress:
            task = progress.add_task(text, total=total)
            yield lambda done: progress.update(task, completed=done)

    @contextmanager
    def fetching(self, text: str) -> Iterator[Callable[[int, int], None]]:
        """A bar over bytes, with rate and time left; the yielded function takes done and total."""
        columns = [
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        ]
        with self._progress(*columns) as progress:
            task = progress.add_task(plain_line(text), total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    @contextmanager
    def answering(self, total: int) -> Iterator[Callable[[BatchReport], None]]:
        """A bar over the questions of a batch, with what became of them and the time left."""
        columns = [
            *_bar_columns(),
            TaskProgressColumn(),
            TextColumn("{task.fields[counts]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
        ]
        with self._progress(*columns) as progress:
            task = progress.add_task("answering", total=total, counts="")
            resumed = 0

            def show(report: BatchReport) -> None:
                nonlocal resumed
                if report.resumed > resumed:
                    # What an earlier run did took no time now and must not raise the rate.
                    resumed = report.resumed
                    progress.reset(task, completed=report.done, total=total)
                progress.update(task, completed=report.done, counts=batch_counts(report))

            yield show

    def _progress(self, *columns: ProgressColumn) -> Progress:
        return Progress(
            *columns,
            console=self._error,
            disable=not self._error.is_terminal,
            speed_estimate_period=_SPEED_PERIOD_SECONDS,
            redirect_stdout=False,
        )

    def show_answer(self, open_stream: Callable[[], Stream]) -> Answer:
        """Show a stream as it comes and return its answer.

        On a terminal each verified sentence appears at once; elsewhere the text comes whole. The
        stream is closed whatever happens, which stops the model.
        """
        with self.stage("searching") as stage, closing(open_stream()) as events:
            view = _AnswerView(self, stage)
            for event in events:
                view.show(event)
        if view.answer is None:
            raise RuntimeError("the stream of an answer ended without Done")
        self._show_rest(view.answer, view.shown)
        return view.answer

    def _show_rest(self, answer: Answer, shown: Sequence[str]) -> None:
        if not shown or any(sentence not in answer.text for sentence in shown):
            self.say(answer.text)
        self.show_sources(answer)
        if answer.status != "answered":
            closest = [passage.paper for passage in answer.passages[:_CLOSEST_PAPERS]]
            named = any(paper.title in answer.text for paper in closest)
            self._show_closest([] if named else closest)
        self.remark(f"{answer.status} in {answer.timings.total_seconds:.1f} s by {answer.model}")

    def show_sources(self, answer: Answer) -> None:
        """The quotations of an answer, each with its paper."""
        papers = {passage.paper.id: passage.paper for passage in answer.passages}
        if answer.citations:
            self.say()
        for citation in answer.citations:
            self.say(_heading(citation, papers), style="bold")
            self.say(f'    "{plain_line(citation.quote)}"')

    def _show_closest(self, papers: Sequence[Paper]) -> None:
        if papers:
            self.say()
            self.say("Closest papers:")
        for paper in papers:
            self.say(f"  - {paper_label(paper)}")

    def show_passage(self, passage: Passage) -> None:
        """One result of a search: the paper, and the chunk that was found."""
        similarity = "" if passage.similarity is None else f"  similarity {passage.similarity:.2f}"
        self.say(f"{passage.rank}. {paper_label(passage.paper)}", style="bold")
        self.say(f"   {plain_line(passage.paper.id)}{similarity}", style="dim")
        self.say(f"   {plain_line(passage.chunk.text)}")

    def show_reasons(self, passage: Passage, words: Sequence[str]) -> None:
        """Why a paper is where it is."""
        if passage.lexical_rank is None:
            by_words = "not among the best by words"
        else:
            named = plain_line(", ".join(words))
            by_words = f"words: rank {passage.lexical_rank}, BM25 {passage.bm25:.1f} ({named})"
        if passage.dense_rank is None:
            by_meaning = "not among the best by meaning"
        else:
            span = f"characters {passage.chunk.start} to {passage.chunk.end}"
            by_meaning = (
                f"meaning: rank {passage.dense_rank}, cosine {passage.similarity:.2f} ({span})"
            )
        self.say(f"   {by_words}; {by_meaning}; together {passage.score:.2f}", style="dim")

    def show_finding(self, level: str, topic: str, message: str, hint: str | None) -> None:
        """One finding of the doctor."""
        style = {"ok": "green", "warning": "yellow", "problem": "bold red"}.get(level, "")
        self.say(f"{level:8} {plain_line(topic)}: {message}", style=style)
        if hint:
            self.say(f"{'':8} {hint}", style="dim")

    def show_paper(self, paper: Paper) -> None:
        """A paper with all its fields."""
        self.say(plain_line(paper.title), style="bold")
        fields = {
            "id": paper.id,
            "authors": ", ".join(paper.authors),
            "year": paper.year,
            "venue": paper.venue,
            "url": paper.url,
            "code": paper.code_url,
            "video": paper.video_url,
            **paper.metadata,
        }
        for name, value in fields.items():
            if value not in (None, ""):
                is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
                text = ", ".join(value) if is_list else str(value)
                self.say(f"{plain_line(name)}: {plain_line(text)}")
        self.say()
        self.say(paper.abstract)


@dataclass
class _AnswerView:
    """What is on the screen of one answer while it comes."""

    terminal: Terminal
    stage: Stage
    shown: list[str] = field(default_factory=list)
    answer: Answer | None = None

    def show(self, event: Event) -> None:
        match event:
            case Queued(ahead=ahead):
                self.stage.say(f"waiting: {ahead} ahead")
            case Retrieved():
                self._show_retrieved(event)
            case Reading(paper=paper, position=position, total=total):
                self.stage.say(f"reading paper {position} of {total}: {paper.title}")
            case Probed(paper=paper):
                self.stage.say(f"does it hold the answer: {paper.title}")
            case Draft():
                self.stage.say("writing")
            case Verified(sentence=sentence):
                if self.terminal.is_interactive:
                    self._show_sentence(sentence.text)
            case Done(answer=answer):
                self.answer = answer

    def _show_retrieved(self, event: Retrieved) -> None:
        if event.standalone_question:
            self.terminal.remark(f"asked as: {event.standalone_question}")
        if event.lead and self.terminal.is_interactive:
            self._show_sentence(event.lead)
            return
        titles = "; ".join(p.paper.title for p in event.passages[:_SHOWN_TITLES])
        rest = len(event.passages) - _SHOWN_TITLES
        more = f"; and {rest} more" if rest > 0 else ""
        self.terminal.remark(f"found in {event.seconds:.1f} s: {titles or 'nothing'}{more}")
        self.stage.say("reading")

    def _show_sentence(self, text: str) -> None:
        with self.stage.hidden():
            self.terminal.say(text)
        self.shown.append(text)


class _RateColumn(ProgressColumn):
    """Things per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {self._unit}/s")


def batch_counts(report: BatchReport) -> str:
    """What became of the questions, in words."""
    counts = f"{report.answered} answered, {report.abstained} abstained, {report.failed} failed"
    return f"{counts}, {report.resumed} of them before" if report.resumed else counts


def paper_label(paper: Paper) -> str:
    """Title and year on one line."""
    return plain_line(paper.title if paper.year is None else f"{paper.title} ({paper.year})")


def _heading(citation: Citation, papers: Mapping[str, Paper]) -> str:
    paper = papers.get(citation.paper_id)
    title = plain_line(citation.title) if paper is None else paper_label(paper)
    return f"[{citation.number}] {title}"


def _bar_columns() -> list[ProgressColumn]:
    return [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
    ]
