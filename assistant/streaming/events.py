"""The events of a stream as JSON: what other programs see of a question while it is answered.

Pure. ``type`` names the event; fields may be added, none renamed. The last event is ``done``, whose
``answer`` is the contract of ``Answer.as_dict``.
"""

from __future__ import annotations

from typing import Any

from assistant.types import (
    Done,
    Draft,
    Event,
    Probed,
    Queued,
    Ranked,
    Reading,
    Retrieved,
    Verified,
    citation_fields,
)


def event_as_dict(event: Event) -> dict[str, Any]:
    """The event as JSON has it; papers are named by their ids."""
    return {"type": type(event).__name__.lower(), **_fields(event)}


def _fields(event: Event) -> dict[str, Any]:
    match event:
        case Queued(ahead=ahead):
            return {"ahead": ahead}
        case Retrieved():
            return {
                "papers": [
                    {"paper_id": passage.paper.id, "title": passage.paper.title}
                    for passage in event.passages
                ],
                "seconds": event.seconds,
                "standalone_question": event.standalone_question,
                "lead": event.lead,
            }
        case Reading():
            return {
                "paper_id": event.paper.id,
                "position": event.position,
                "total": event.total,
            }
        case Ranked(papers=papers):
            return {"papers": [paper.id for paper in papers]}
        case Probed():
            return {
                "paper_id": event.paper.id,
                "score": round(event.score, 3),
                "doubtful": event.doubtful,
            }
        case Draft(text=text):
            return {"text": text}
        case Verified(sentence=sentence):
            return {
                "text": sentence.text,
                "citations": [citation_fields(each) for each in sentence.citations],
                "support": round(sentence.support, 3),
                "verbatim": sentence.verbatim,
            }
        case Done(answer=answer):
            return {"answer": answer.as_dict()}
