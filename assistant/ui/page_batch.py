"""Batches as HTML that is safe to show: a file's preview, progress, rows, one answer. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence

from assistant.escaping import shorten
from assistant.question_files.questions import Question
from assistant.streaming.turn import Turn
from assistant.ui import page
from assistant.ui.batches import Job
from assistant.ui.formulas import typeset

SHOWN_QUESTIONS = 6
_SHOWN_CHARS = 240
_FORMS = (("csv", "CSV"), ("html", "HTML"), ("jsonl", "JSON Lines"), ("md", "Markdown"))


def shell() -> str:
    """The tab before anything is known of the batches."""
    return (
        '<section class="sheet batch-tab" aria-label="Batches"><div class="jobs"></div>'
        '<div class="job" aria-live="off"></div></section>'
    )


def dropping() -> str:
    """What can be dropped, and how."""
    return (
        "<h2>Ask many questions</h2><p>Drop a file of questions. You see them before anything is "
        'asked.</p><p class="quiet">One a line (.txt), a list (.md), or a column '
        "<code>question</code> (.csv, .tsv, .xlsx, .jsonl, .parquet). A batch goes on when this "
        "page is closed, and yields to people who ask in between.</p>"
    )


def preview(questions: Sequence[Question]) -> str:
    """The first questions of a file, and what cannot be asked."""
    wrong = [question for question in questions if question.problem]
    count = "1 question" if len(questions) == 1 else f"{len(questions):,} questions"
    rows = "".join(
        f'<li dir="auto">{_text(shorten(question.text, _SHOWN_CHARS))}</li>'
        for question in questions[:SHOWN_QUESTIONS]
    )
    more = len(questions) - SHOWN_QUESTIONS
    rest = f'<li class="quiet">and {more:,} more</li>' if more > 0 else ""
    problems = "".join(f"<li>{_text(str(question.problem))}</li>" for question in wrong[:10])
    complaint = (
        f"<details><summary>{len(wrong):,} cannot be asked</summary><ul>{problems}</ul></details>"
        if wrong
        else ""
    )
    return f'<section class="preview"><h3>{count}</h3>{complaint}<ul>{rows}{rest}</ul></section>'


def jobs(found: Sequence[Job], chosen: str, here: str) -> str:
    """All batches, to choose one from; those of other collections than ``here`` name theirs."""
    if not found:
        return '<p class="quiet">No batches yet. Drop a file of questions to begin one.</p>'
    return "<ul>" + "".join(_job(job, chosen, here) for job in found) + "</ul>"


def head(job: Job) -> str:
    """How far a batch is, and what can be done with it."""
    report = job.report
    counted = (
        (report.answered, "answered"),
        (report.abstained, "not in the papers"),
        (report.failed, "failed"),
    )
    told = " · ".join(f"{number:,} {what}" for number, what in counted if number)
    left = _left(job)
    state = f"{report.done:,} of {report.total:,}{left}"
    failure = f'<p class="error">{_text(str(job.failure))}</p>' if job.failure else ""
    return (
        f'<h2 dir="auto">{_text(job.name)}</h2><p class="progress" role="status">{state}'
        f'<progress value="{report.done}" max="{max(report.total, 1)}" aria-label="Progress">'
        f'</progress></p><p class="quiet">{told}</p>{failure}'
        f'<div class="buttons">{_acts(job)}</div>'
    )


def rows(turns: Sequence[Turn]) -> str:
    """The answers so far, a row each."""
    return "".join(_row(turn) for turn in turns)


def answer(turn: Turn) -> str:
    """A row, opened: the answer as the chat shows it, its sources below."""
    return f'<div class="standalone">{page.turn(turn, with_foot=False)}{page.sources(turn)}</div>'


def _job(job: Job, chosen: str, here: str) -> str:
    state = "running" if job.running else "finished" if job.finished else "paused"
    place = f" · {_text(page.called(job.collection))}" if job.collection not in ("", here) else ""
    return (
        f'<li><button type="button" class="open-job" data-job="{_text(job.id)}" '
        f'aria-pressed="{"true" if job.id == chosen else "false"}"><span dir="auto">'
        f'{_text(job.name)}</span><span class="quiet">{state}, {job.report.done:,} of '
        f"{job.report.total:,}{place}</span></button></li>"
    )


def _acts(job: Job) -> str:
    acts = []
    if job.running:
        acts.append('<button type="button" class="pause-job">Pause</button>')
    elif not job.finished:
        acts.append('<button type="button" class="go-on-job primary">Go on</button>')
    if job.report.done:
        acts += [
            f'<button type="button" class="save-job" data-form="{form}">Save as {name}</button>'
            for form, name in _FORMS
        ]
    acts.append('<button type="button" class="danger delete-job">Delete</button>')
    return "".join(acts)


def _left(job: Job) -> str:
    if job.finished:
        return ", done"
    if not job.running:
        return ", paused"
    if job.seconds_left is None:
        return ""
    minutes, seconds = divmod(round(job.seconds_left), 60)
    told = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    return f", {told if minutes else f'{seconds} s'} left"


def _row(turn: Turn) -> str:
    status = turn.answer.status if turn.answer else "error"
    text = turn.answer.text if turn.answer else turn.message
    label = {"answered": "answered", "abstained": "not in the papers"}.get(status, "failed")
    return (
        f'<tr data-row="{turn.number}"><td>{turn.number}</td><td dir="auto"><button type="button" '
        f'class="open-paper open-row" aria-expanded="false">{_text(shorten(turn.question, 300))}'
        f'</button></td><td dir="auto">{typeset(shorten(text, _SHOWN_CHARS))}</td>'
        f'<td><span class="badge {status}">{label}</span></td></tr>'
    )


def _text(text: str) -> str:
    return html.escape(text, quote=True)
