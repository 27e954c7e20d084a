"""Turns to HTML that is safe to show.

Pure: text in, text out. Everything that comes from papers, questions and the model passes through
``_text`` and can thus be neither a tag, nor an attribute, nor an entity; links are http or https
or not links at all. Knows nothing of Gradio; ``page.css`` and ``page.js`` know the class names and
``data-`` attributes that are written here.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal
from urllib.parse import urlsplit

from assistant.checking.sentences import sentence_spans
from assistant.llm.ahead import Progress
from assistant.streaming.turn import Turn
from assistant.types import Citation, Closest, Sentence
from assistant.ui.formulas import typeset
from vectorstore import Paper

_MARKER = re.compile(r"\s*\[(\d+)\]")
_SHOWN_AUTHORS = 6
_SHOWN_QUESTION_CHARS = 2_000
_SHOWN_OF_CHARS = 200


def header(papers: int, collection: str, *, named: bool = False) -> str:
    """The name of the page, the size of the collection, and where everything stays.

    Args:
        papers: In the collection.
        collection: Its name, or where it is.
        named: Show the name; where there is but one, it means nothing to anybody.
    """
    count = "No papers yet" if papers == 0 else _count(papers, "paper")
    name = f'<span class="collection-name">{_text(called(collection))}</span>' if named else ""
    return (
        f'<header class="masthead" data-collection="{_text(collection)}">'
        f'<h1>Abstract Assistant</h1><p>{name}<span class="count">{count}</span>'
        '<span class="private">Everything stays on this machine</span></p></header>'
    )


def called(place: str) -> str:
    """A collection as people call it: of a folder or an address, the end."""
    return re.split(r"[/\\]", place.rstrip("/\\"))[-1]


def welcome(papers: int) -> str:
    """What stands in the place of the conversation before the first question."""
    if papers == 0:
        body = (
            "<h2>This collection is empty.</h2><p>Drop files of papers in the tab "
            "<strong>Papers</strong>, or add them in a terminal with "
            "<code>assistant ingest FILE</code>, then reload this page.</p>"
        )
    else:
        body = (
            "<h2>What would you like to know?</h2>"
            f"<p>Answers come from the abstracts of {_count(papers, 'paper')}. Every sentence "
            "is checked against the abstract that it cites, and the exact words are marked "
            "for you to read.</p>"
        )
    return f'<section class="welcome">{body}</section>'


def keys() -> str:
    """The keys that the page knows."""
    known = (
        (("Enter",), "asks"),
        (("Shift", "Enter"), "new line"),
        (("Esc",), "stops"),
        (("/",), "to this box"),
        (("j", "k"), "citations"),
    )
    told = (" ".join(f"<kbd>{key}</kbd>" for key in keys) + f" {does}" for keys, does in known)
    return f'<p class="keys">{"".join(f"<span>{one}</span>" for one in told)}</p>'


def scope() -> str:
    """Where the page tells that only some papers are asked; filled and emptied by ``page.js``."""
    return (
        '<p class="scope" hidden><span class="scope-text"></span>'
        '<button type="button" class="link scope-clear">Ask all papers</button></p>'
    )


def no_sources() -> str:
    """What stands in the sources panel before the first question."""
    return (
        '<section class="sources empty"><h2>Sources</h2><p class="quiet">The papers behind an '
        "answer appear here, with the cited words marked.</p></section>"
    )


def past_sources() -> str:
    """Where ``page.js`` puts the sources of an earlier answer when they are asked for."""
    return '<div class="past-sources"></div>'


def turn(
    value: Turn,
    *,
    conversation: str = "",
    rating: Literal["good", "bad"] | None = None,
    with_foot: bool = True,
) -> str:
    """A question and its answer so far; below, what can be done with it once it is finished."""
    foot = _foot(value, rating) if with_foot and value.outcome != "running" else ""
    return (
        f'<article class="turn" data-turn="{value.number}" data-state="{value.outcome}" '
        f'data-conversation="{_text(conversation)}" aria-label="Question {value.number}">'
        f"{_question(value)}{_stages(value)}"
        f'<div class="answer">{_answer(value)}</div>{foot}</article>'
    )


def sources(value: Turn, *, hidden: bool = False) -> str:
    """The papers of a turn: the cited ones with their marks, then the others, folded."""
    if not value.papers:
        return "" if hidden else _empty_sources(value)
    number = value.number
    return (
        f'<section class="sources" data-turn="{number}"{" hidden" if hidden else ""} '
        f'aria-label="Sources of question {number}">'
        f'<div class="sources-head"><h2>{_sources_title(value)}</h2>'
        f'<button type="button" class="link back" data-turn="{number}">Back to the answer</button>'
        f'</div><p class="of" dir="auto">{_text(value.question[:_SHOWN_OF_CHARS])}</p>'
        f"{_papers(value)}</section>"
    )


def announcement(value: Turn) -> str:
    """What a screen reader should say now; changes a few times per question, never per word."""
    match value.outcome:
        case "stopped":
            return "Stopped."
        case "failed":
            return f"{value.message} {value.hint}"
        case "done" if value.answer is not None:
            return "Answer: " + _MARKER.sub("", value.answer.text)
    said = {
        "waiting": f"{_count(value.ahead, 'question')} ahead of yours.",
        "searching": "Searching.",
        "reading": "Reading papers.",
        "probing": f"{_count(len(value.passages), 'paper')} found. Checking which hold the answer.",
        "writing": "Writing.",
    }
    return said[value.activity]


def reading_ahead(progress: Progress | None) -> str:
    """How many papers the model has read before anybody asks."""
    if progress is None or not progress.total:
        return ""
    what = "papers are" if progress.read == progress.total else "papers"
    return f'<p class="ahead">{progress.read} of {progress.total} {what} read</p>'


def live(text: str) -> str:
    """The region that screen readers listen to; the element must persist, its text changes."""
    return f'<p role="status" aria-live="polite">{_text(text)}</p>'


def marked(abstract: str, citations: Sequence[Citation], *, turn_number: int) -> str:
    """The abstract with its cited spans in ``<mark>``, the number beside each.

    Spans may touch, nest or overlap; a span that does not lie within the abstract is left out.
    Without tags and numbers the result is the abstract, to the character.

    Args:
        abstract: Text that the citations' offsets point into.
        citations: Those of this paper, in any order.
        turn_number: Makes the ids of the marks unique in the page.
    """
    spans = [c for c in citations if 0 <= c.start < c.end <= len(abstract)]
    cuts = sorted({0, len(abstract), *(c.start for c in spans), *(c.end for c in spans)})
    pieces: list[str] = []
    for start, end in pairwise(cuts):
        covering = [c for c in spans if c.start <= start and end <= c.end]
        piece = typeset(abstract, start, end)
        if covering:
            ids = " ".join(mark_id(c, turn_number) for c in covering)
            piece = f'<mark data-marks="{ids}">{piece}</mark>'
        pieces.append(piece)
        pieces += [_mark_number(c, turn_number) for c in spans if c.end == end]
    return "".join(pieces)


def mark_id(citation: Citation, turn_number: int) -> str:
    """Names a cited span within the page; what a chip points to."""
    return f"mark-{turn_number}-{citation.number}-{citation.start}-{citation.end}"


def safe_url(url: str | None) -> str | None:
    """Return the address if a browser may be sent there, else None."""
    if url is None:
        return None
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    return url.strip() if parts.scheme in ("http", "https") and parts.netloc else None


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _running_clock(seconds: float) -> str:
    # Whole seconds, and none at first: a clock that counts tenths is all one looks at.
    return f", {int(seconds)} s" if seconds >= 1 else ""


# The conversation


def _question(value: Turn) -> str:
    question = value.question
    cut = ""
    if len(question) > _SHOWN_QUESTION_CHARS:
        cut = f'<span class="quiet"> … ({len(question):,} characters)</span>'
        question = question[:_SHOWN_QUESTION_CHARS]
    understood = ""
    if value.standalone_question and value.standalone_question != value.question:
        meant = _text(value.standalone_question)
        understood = f'<p class="understood" dir="auto">understood as: {meant}</p>'
    return (
        f'<div class="question"><h2 dir="auto">{_text(question)}{cut}</h2>'
        f'<button type="button" class="link edit" data-question="{_text(question)}" '
        'aria-label="Edit this question and ask again">Edit</button></div>'
        f"{understood}"
    )


def _stages(value: Turn) -> str:
    done = [_stage(text, "past") for text in _past_stages(value)]
    if value.outcome == "running":
        done.append(_stage(_running_stage(value), "now"))
    else:
        done.append(_stage(_ending(value), "end"))
    return f'<ol class="stages" aria-label="What was done">{"".join(done)}</ol>'


def _stage(text: str, kind: str) -> str:
    return f'<li class="{kind}">{text}</li>'


def _past_stages(value: Turn) -> list[str]:
    """Completed stages. The running one is left out: it is told live."""
    spent = dict(value.seconds)
    if value.outcome == "running":
        spent.pop(value.activity, None)
    told: list[str] = []
    if spent.get("waiting", 0.0) >= 0.1:
        told.append(f"waited {_clock(spent['waiting'])}")
    if "searching" in spent:
        papers = _searched(value)
        told.append(f"searched {papers}, {_clock(spent['searching'])}")
    if "reading" in spent and value.reading is not None:
        told.append(f"read {value.reading.position}, {_clock(spent['reading'])}")
    if "probing" in spent and value.ranked:
        told.append(
            '<span title="How well does each paper explain the question?">'
            f"compared {len(value.ranked)}</span>, {_clock(spent['probing'])}"
        )
    if spent.get("writing", 0.0) >= 0.05 and (value.sentences or value.draft_dropped):
        told.append(f"wrote, {_clock(spent['writing'])}")
    return told


def _running_stage(value: Turn) -> str:
    clock = _running_clock(value.running_seconds)
    match value.activity:
        case "waiting":
            return f"{_count(value.ahead, 'question')} ahead of yours{clock}"
        case "searching":
            return f"searching {_searched(value)}{clock}"
        case "reading" if value.reading is not None:
            return f"reading {value.reading.position} of {value.reading.total}{clock}"
        case "probing":
            return f"comparing papers{clock}"
        case _:
            return f"writing{clock}"


def _searched(value: Turn) -> str:
    if value.chosen_papers:
        return _count(value.chosen_papers, "chosen paper")
    return _count(value.collection_papers, "paper")


def _ending(value: Turn) -> str:
    clock = _clock(value.elapsed_seconds)
    match value.outcome:
        case "stopped":
            return f"stopped after {clock}"
        case "failed":
            return f"failed after {clock}"
        case _:
            return f"no answer, {clock}" if value.abstained else f"answered in {clock}"


def _answer(value: Turn) -> str:
    if value.outcome == "failed":
        return _error(value)
    if value.abstained:
        return _abstention(value)
    parts = [_sentence(sentence, value) for sentence in value.sentences]
    if value.answer and value.answer.lead:
        parts.insert(0, f'<p dir="auto">{_text(value.answer.lead)}</p>')
    if value.outcome == "running":
        parts.append(_draft(value))
    elif value.outcome == "stopped":
        kept = "What stands above was checked." if value.sentences else ""
        parts.append(f'<p class="note">Stopped. {kept}</p>')
    elif value.draft_dropped:
        parts.append(_dropped_note())
    if value.outcome != "running" and value.papers:
        parts.append(_sources_button(value))
    return "".join(parts)


def _draft(value: Turn) -> str:
    if not value.draft:
        return ""
    return (
        '<p class="draft" dir="auto"><span class="draft-label">draft, being checked</span> '
        f'<span class="draft-text">{_text(_MARKER.sub("", value.draft))}</span></p>'
    )


def _dropped_note() -> str:
    return (
        '<p class="note">A sentence that was drafted is not shown: '
        "the abstract does not support it.</p>"
    )


def _sources_button(value: Turn) -> str:
    return (
        f'<p class="turn-actions"><button type="button" class="link show-sources" '
        f'data-turn="{value.number}">Show {_count(len(value.papers), "source")}</button></p>'
    )


def _sentence(sentence: Sentence, value: Turn) -> str:
    by_number = {citation.number: citation for citation in sentence.citations}
    pieces: list[str] = []
    used: set[int] = set()
    position = 0
    for match in _MARKER.finditer(sentence.text):
        citation = by_number.get(int(match[1]))
        if citation is None:
            continue
        pieces.append(typeset(sentence.text, position, match.start()))
        pieces.append(_chip(citation, value))
        used.add(citation.number)
        position = match.end()
    pieces.append(typeset(sentence.text, position))
    pieces += [_chip(c, value) for c in sentence.citations if c.number not in used]
    kind = "sentence verbatim" if sentence.verbatim else "sentence"
    return f'<p class="{kind}" dir="auto">{"".join(pieces)} {_badge(sentence)}</p>'


def _badge(sentence: Sentence) -> str:
    if sentence.verbatim:
        return (
            '<span class="badge quoted" title="These are the words of the abstract itself">'
            "quoted</span>"
        )
    return (
        '<span class="badge verified" title="The cited abstract holds '
        f"{sentence.support:.0%} of this sentence's content words, and all of its numbers "
        'and names">verified</span>'
    )


def _chip(citation: Citation, value: Turn) -> str:
    label = f"Source {citation.number}: {citation.quote} ({citation.title})"
    tip = f"<p>{_quotation(citation, value)}</p><cite>{typeset(citation.title)}</cite>"
    return (
        f'<button type="button" class="chip" data-turn="{value.number}" '
        f'data-mark="{mark_id(citation, value.number)}" data-tip="{_text(tip)}" '
        f'aria-label="{_text(label)}">{citation.number}</button>'
    )


def _quotation(citation: Citation, value: Turn) -> str:
    """A quotation, marked within its sentence of the abstract."""
    abstract = next((p.abstract for p in value.papers if p.id == citation.paper_id), "")
    if not 0 <= citation.start < citation.end <= len(abstract):
        return f"<mark>{typeset(citation.quote)}</mark>"
    touched = [
        (start, end)
        for start, end in sentence_spans(abstract)
        if start < citation.end and citation.start < end
    ]
    start = min((start for start, _ in touched), default=citation.start)
    end = max((end for _, end in touched), default=citation.end)
    return (
        f"{typeset(abstract, start, citation.start)}"
        f"<mark>{typeset(abstract, citation.start, citation.end)}</mark>"
        f"{typeset(abstract, citation.end, end)}"
    )


def _abstention(value: Turn) -> str:
    reason = value.answer.reason if value.answer else None
    why = f'<p dir="auto">{_text(reason[:1].upper() + reason[1:])}.</p>' if reason else ""
    closest = value.answer.closest if value.answer else ()
    positions = {paper.id: at for at, paper in enumerate(value.papers)}
    told = "".join(_closest(value, each, positions[each.paper_id]) for each in closest)
    papers = f"<p>What the closest papers do say:</p><ul>{told}</ul>" if told else ""
    return (
        f'<div class="abstention"><h3>No paper here answers this</h3>{why}{papers}'
        '<p class="quiet">Other words for the same thing may help, too.</p></div>'
    )


def _closest(value: Turn, closest: Closest, position: int) -> str:
    question = answerable(closest)
    return (
        f'<li><button type="button" class="link show-paper" data-turn="{value.number}" '
        f'data-paper="{_paper_id(value, position)}">{_text(closest.title)}</button>'
        f'<q dir="auto">{typeset(closest.quote)}</q>'
        f'<button type="button" class="link ask-this" data-question="{_text(question)}" '
        f'aria-label="Ask: {_text(question)}">Ask what its authors propose</button></li>'
    )


def answerable(closest: Closest) -> str:
    """A question that the paper does answer: 6 of 6 did, for what two abstentions found."""
    return f"What do the authors of “{closest.title}” propose?"


def _error(value: Turn) -> str:
    hint = f'<p class="hint">Try: <code>{_text(value.hint)}</code></p>' if value.hint else ""
    return (
        '<div class="error" role="alert"><h3>This did not work</h3>'
        f'<p dir="auto">{_text(value.message)}</p>{hint}</div>'
    )


SAVED_AS = (
    ("markdown", "Markdown"),
    ("html", "HTML"),
    ("latex", "LaTeX with BibTeX"),
    ("bibtex", "BibTeX"),
    ("csl-json", "CSL-JSON (Zotero)"),
)
"""Formats of ``export``, and what people call them."""


def save_menu(label: str) -> str:
    """The formats that an answer or a conversation is saved in."""
    forms = "".join(
        f'<button type="button" class="save" data-form="{form}">{name}</button>'
        for form, name in SAVED_AS
    )
    return f'<details class="menu"><summary>{label}</summary><div>{forms}</div></details>'


def _foot(value: Turn, rating: Literal["good", "bad"] | None) -> str:
    asked = f'data-question="{_text(value.question)}"'
    acts = [f'<button type="button" class="link again" {asked}>Ask again</button>']
    if value.outcome in ("done", "stopped"):
        others = [paper.id for paper in value.papers if not _citations_of(value, paper)]
        if value.sentences and others:
            ids = _text(json.dumps(others))
            acts.append(
                f'<button type="button" class="link again" {asked} data-papers="{ids}" '
                'title="The same question, of the papers that this answer does not cite">'
                "Ask the other papers</button>"
            )
        acts.append('<button type="button" class="link copy">Copy</button>')
        acts.append(save_menu("Save as"))
    if value.outcome == "done":
        acts.append(
            '<span class="rate" role="group" aria-label="Was this answer right?">'
            "<span>Right?</span>"
            f"{_judgement('good', 'Yes', rating)}{_judgement('bad', 'No', rating)}</span>"
        )
    return f'<div class="turn-foot">{"".join(acts)}</div>'


def _judgement(kind: str, label: str, rating: str | None) -> str:
    pressed = "true" if kind == rating else "false"
    return f'<button type="button" class="link {kind}" aria-pressed="{pressed}">{label}</button>'


# The sources


def _empty_sources(value: Turn) -> str:
    text = "Searching …" if value.outcome == "running" else "No paper was looked at."
    return (
        f'<section class="sources empty" data-turn="{value.number}"><h2>Sources</h2>'
        f'<p class="quiet">{text}</p></section>'
    )


def _sources_title(value: Turn) -> str:
    if value.outcome == "running" and not value.sentences:
        return f"Looking at {_count(len(value.papers), 'paper')}"
    if value.abstained:
        return "Closest papers"
    return "Sources"


def _papers(value: Turn) -> str:
    """Cited papers first, in the order of their numbers; the rest folded once all is said."""
    numbered = list(enumerate(value.papers))
    cited = [(i, p) for i, p in numbered if _citations_of(value, p)]
    cited.sort(key=lambda item: min(c.number for c in _citations_of(value, item[1])))
    rest = [(i, p) for i, p in numbered if not _citations_of(value, p)]
    shown = "".join(_paper(value, position, paper) for position, paper in cited)
    looked = "".join(_paper(value, position, paper) for position, paper in rest)
    if not looked:
        return f'<div class="papers">{shown}</div>'
    if not cited:
        return f'<div class="papers">{looked}</div>'
    return (
        f'<div class="papers">{shown}</div><details class="looked">'
        f"<summary>Also looked at {len(rest)} more</summary>"
        f'<div class="papers">{looked}</div></details>'
    )


def _paper(value: Turn, position: int, paper: Paper) -> str:
    citations = _citations_of(value, paper)
    number = ""
    if citations:
        numbers = ", ".join(str(n) for n in sorted({c.number for c in citations}))
        number = f'<span class="chip still" aria-hidden="true">{numbers}</span> '
    return (
        f'<article class="paper{" cited" if citations else ""}" '
        f'id="{_paper_id(value, position)}" tabindex="-1">'
        f'<h3 dir="auto">{number}{typeset(paper.title)}</h3>'
        f"{byline(paper, _paper_state(value, paper))}"
        f"{_abstract(value, paper, citations)}{links(paper, folded=not citations)}</article>"
    )


def _paper_id(value: Turn, position: int) -> str:
    # Not the paper's own id: that may hold anything.
    return f"paper-{value.number}-{position}"


def _citations_of(value: Turn, paper: Paper) -> list[Citation]:
    found = {
        (c.number, c.start, c.end): c
        for sentence in value.sentences
        for c in sentence.citations
        if c.paper_id == paper.id
    }
    return list(found.values())


def byline(paper: Paper, state: str = "") -> str:
    """Authors, year and venue; behind them, what is known of the paper at the moment."""
    authors = ", ".join(paper.authors[:_SHOWN_AUTHORS])
    if len(paper.authors) > _SHOWN_AUTHORS:
        authors += f" and {len(paper.authors) - _SHOWN_AUTHORS} more"
    facts = [authors, str(paper.year) if paper.year is not None else "", paper.venue or ""]
    told = [_text(fact) for fact in facts if fact]
    if state:
        told.append(f'<span class="state">{state}</span>')
    return f'<p class="byline" dir="auto">{" · ".join(told)}</p>' if told else ""


def _paper_state(value: Turn, paper: Paper) -> str:
    score = value.probes.get(paper.id)
    if value.outcome != "running":
        listed = value.answer is not None and bool(value.answer.lead)
        return "" if listed or paper.id in value.ranked else "found, not read"
    reading = value.reading
    if value.activity == "reading" and reading is not None and reading.paper.id == paper.id:
        return "being read"
    if score is None:
        return "found"
    return "may hold the answer" if score > 0 else "probably not"


def _abstract(value: Turn, paper: Paper, citations: Sequence[Citation]) -> str:
    if citations:
        body = marked(paper.abstract, citations, turn_number=value.number)
        return f'<p class="abstract" dir="auto">{body}</p>'
    return f'<p class="abstract brief" dir="auto">{typeset(paper.abstract)}</p>'


def _mark_number(citation: Citation, turn_number: int) -> str:
    return (
        f'<sup class="mark-number" data-of="{mark_id(citation, turn_number)}" '
        f'aria-label="end of quotation {citation.number}">{citation.number}</sup>'
    )


def links(paper: Paper, *, folded: bool = False) -> str:
    """Where the paper, its code and its video are."""
    addresses = (("Paper", paper.url), ("Code", paper.code_url), ("Video", paper.video_url))
    anchors = [
        f'<a href="{_text(address)}" target="_blank" rel="noopener noreferrer">{name}</a>'
        for name, url in addresses
        if (address := safe_url(url)) is not None
    ]
    if folded:
        # Unfolded by page.js: the whole text is there already.
        anchors.insert(
            0, '<button type="button" class="link more" aria-expanded="false">Abstract</button>'
        )
    return f'<p class="links">{"".join(anchors)}</p>' if anchors else ""
