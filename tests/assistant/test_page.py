"""Promises of the page's HTML: safe, complete, exact."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.streaming.turn import Turn, advance, failed, stopped
from assistant.types import (
    Citation,
    Done,
    Draft,
    Event,
    Probed,
    Queued,
    Reading,
    Retrieved,
    Sentence,
    Verified,
)
from assistant.ui import page
from tests.fakes import (
    HOSTILE,
    PAPERS,
    abstained_story,
    answer,
    answered_story,
    followed_up_story,
    hostile_story,
    passage,
)
from vectorstore import Paper

TAGS = {
    "a", "article", "button", "cite", "code", "details", "div", "h2", "h3", "li", "mark",
    "ol", "p", "q", "section", "span", "summary", "sup", "ul",
    "math", "mrow", "mi", "mn", "mo", "msub", "msup", "mfrac", "mtext",
}  # fmt: skip
ATTRIBUTES = {
    "aria-expanded", "aria-hidden", "aria-label", "aria-pressed", "class", "data-conversation",
    "data-form", "data-mark", "data-marks", "data-of", "data-paper", "data-papers",
    "data-question", "data-state", "data-tip", "data-turn", "dir", "hidden", "href", "id", "rel",
    "role", "tabindex", "target", "title", "type", "alttext", "display",
}  # fmt: skip

text = st.text(max_size=60) | st.sampled_from(
    ['"><img src=x onerror=a()>', "<script>", "' onclick='a()", "&lt;b&gt;", "</p>", "[1]", "\0"]
)


class Reader(HTMLParser):
    """Reads markup as a browser would, and keeps what the tests ask about."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), "an attribute twice"
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self.open), data))

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError("a declaration")

    def handle_pi(self, data: str) -> None:
        raise AssertionError("a processing instruction")

    def text(self, *, without: str = "") -> str:
        return "".join(data for path, data in self.texts if without not in path)

    def with_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]


def check_safe(markup: str) -> Reader:
    read = Reader(markup)
    assert read.open == [], "an element left open"
    for tag, attributes in read.tags:
        assert tag in TAGS
        assert set(attributes) <= ATTRIBUTES
        if tag == "a":
            assert re.match(r"https?://", attributes["href"] or "")
            assert attributes["rel"] == "noopener noreferrer"
            assert attributes["target"] == "_blank"
    return read


@st.composite
def papers(draw: st.DrawFn) -> Paper:
    urls = st.none() | text | text.map(lambda tail: "https://example.org/" + tail)
    return Paper(
        id=draw(text),
        title=draw(text),
        abstract=draw(text),
        authors=tuple(draw(st.lists(text, max_size=8))),
        year=draw(st.none() | st.integers(1900, 2100)),
        venue=draw(st.none() | text),
        url=draw(urls),
        code_url=draw(urls),
        video_url=draw(urls),
    )


@st.composite
def citations_of(draw: st.DrawFn, paper: Paper) -> Citation:
    start = draw(st.integers(-2, len(paper.abstract) + 2))
    end = draw(st.integers(-2, len(paper.abstract) + 2))
    number = draw(st.integers(1, 4))
    return Citation(number, paper.id, paper.title, "c", start, end, paper.abstract[start:end])


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    """Any turn that a stream could lead to, and some that it could not."""
    shown = draw(st.lists(papers(), max_size=3, unique_by=lambda paper: paper.id))
    turn = Turn(draw(st.integers(1, 9)), draw(text), collection_papers=draw(st.integers(0, 9)))
    sentences = [
        Sentence(draw(text), tuple(draw(st.lists(citations_of(paper), max_size=2))), 0.9, verbatim)
        for paper in shown
        for verbatim in draw(st.lists(st.booleans(), max_size=1))
    ]
    events: list[Event] = [
        Queued(draw(st.integers(1, 3))),
        Retrieved(tuple(passage(paper) for paper in shown), 0.1, draw(st.none() | text)),
        *(Reading(paper, 1, 1) for paper in shown),
        *(Probed(paper, 0.5) for paper in shown),
        Draft(draw(text)),
        *(Verified(sentence) for sentence in sentences),
        Draft(draw(text)),
        Done(answer(draw(text), sentences, shown, text=draw(text), reason=draw(text))),
    ]
    for event in events[: draw(st.integers(0, len(events)))]:
        turn = advance(turn, event, elapsed_seconds=1.0)
    end = draw(st.sampled_from(["as is", "stop", "fail"]))
    if end == "stop":
        turn = stopped(turn, elapsed_seconds=2.0)
    if end == "fail":
        turn = failed(turn, draw(text), hint=draw(text), elapsed_seconds=2.0)
    return turn


def last_turn(story: list[Event], question: str = "?") -> Turn:
    turn = Turn(1, question, collection_papers=68)
    for event in story:
        turn = advance(turn, event, elapsed_seconds=1.0)
    return turn


@given(turns())
def test_nothing_foreign_becomes_markup(turn: Turn) -> None:
    check_safe(page.turn(turn))
    check_safe(page.sources(turn))
    check_safe(page.sources(turn, hidden=True))
    check_safe(page.live(page.announcement(turn)).replace(' aria-live="polite"', ""))


def test_a_hostile_record_is_shown_as_its_text() -> None:
    turn = last_turn(hostile_story())
    shown = check_safe(page.sources(turn)).text(without="sup")
    for fact in (HOSTILE.title, HOSTILE.abstract, *HOSTILE.authors, HOSTILE.venue or ""):
        assert fact in shown


@pytest.mark.parametrize(
    "url",
    [
        None, "", "javascript:a()", " JavaScript:a()", "data:text/html,x", "//example.org",
        "ftp://example.org", "https:", "http://[", "vbscript:x", "example.org", "\x01javascript:a",
    ],
)  # fmt: skip
def test_only_web_addresses_become_links(url: str | None) -> None:
    assert page.safe_url(url) is None


@given(papers().flatmap(lambda p: st.tuples(st.just(p), st.lists(citations_of(p), max_size=5))))
def test_marks_change_nothing_of_the_abstract(cited: tuple[Paper, list[Citation]]) -> None:
    paper, citations = cited
    markup = page.marked(paper.abstract, citations, turn_number=1)
    read = check_safe(markup)
    # But for backslashes: that of "\\$" is not shown, unless a mark ends just there.
    assert Reader(re.sub(r"<sup.*?</sup>", "", markup)).text().replace("\\", "") == Reader(
        page.marked(paper.abstract, [], turn_number=1)
    ).text().replace("\\", "")
    for citation in citations:
        name = page.mark_id(citation, 1)
        marked = "".join(
            Reader(piece).text()
            for names, piece in re.findall(
                r'<mark data-marks="([^"]*)">(.*?)</mark>', markup, re.DOTALL
            )
            if name in names.split()
        )
        valid = 0 <= citation.start < citation.end <= len(paper.abstract)
        assert marked.replace("\\", "") == (citation.quote.replace("\\", "") if valid else "")
    assert all(tag in ("mark", "sup") for tag, _ in read.tags)


def test_every_chip_has_its_mark_and_says_its_quotation() -> None:
    turn = last_turn(answered_story())
    marks = check_safe(page.sources(turn))
    names = " ".join(attrs.get("data-marks") or "" for _, attrs in marks.tags).split()
    chips = check_safe(page.turn(turn)).with_class("chip")
    assert len(chips) == 2
    for chip, citation in zip(chips, turn.answer.citations, strict=True):  # type: ignore[union-attr]
        assert chip["data-mark"] in names
        tip = check_safe(chip["data-tip"] or "")
        assert citation.quote in tip.text()
        assert citation.title in tip.text()
        assert citation.quote in (chip["aria-label"] or "")


def test_the_quotation_of_a_hostile_record_is_text() -> None:
    read = check_safe(page.turn(last_turn(hostile_story())))
    (chip,) = read.with_class("chip")
    tip = check_safe(chip["data-tip"] or "")
    assert {tag for tag, _ in tip.tags} == {"p", "mark", "cite"}
    assert "<script>" in tip.text()


def test_markers_become_chips_where_they_stand_and_other_brackets_stay() -> None:
    paper = PAPERS[0]
    cited = Citation(3, paper.id, paper.title, "c", 0, 9, paper.abstract[:9])
    sentence = Sentence("An array [0] holds [3] it [7].", (cited,), 1.0)
    turn = last_turn([Retrieved((passage(paper),), 0.1), Verified(sentence)])
    shown = check_safe(page.turn(turn)).text()
    assert "An array [0] holds3 it [7]." in shown


def test_a_draft_is_called_a_draft_and_only_while_it_is_one() -> None:
    for turn in (last_turn(answered_story()[:count]) for count in range(30)):
        read = check_safe(page.turn(turn))
        assert bool(read.with_class("draft")) == bool(turn.draft)
    assert not check_safe(page.turn(last_turn(answered_story()))).with_class("draft")


def test_a_quotation_is_told_from_a_verified_sentence() -> None:
    read = check_safe(page.turn(last_turn(answered_story())))
    assert len(read.with_class("verified")) == 1
    assert len(read.with_class("quoted")) == 1


def test_cited_papers_come_first_and_the_others_folded() -> None:
    markup = page.sources(last_turn(answered_story()))
    unfolded, _, folded = markup.partition("<details")
    assert [p.title in unfolded for p in PAPERS] == [True, True, False, False]
    assert [p.title in folded for p in PAPERS] == [False, False, True, True]


def test_sources_are_there_as_soon_as_papers_are_found() -> None:
    markup = page.sources(last_turn(answered_story()[:1]))
    for paper in PAPERS:
        assert check_safe(markup).text().count(paper.title) == 1


def test_an_abstention_is_a_result_with_the_closest_papers() -> None:
    read = check_safe(page.turn(last_turn(abstained_story())))
    assert read.with_class("abstention")
    assert not read.with_class("error")
    shown = read.text()
    assert PAPERS[3].title in shown
    assert "No paper that was read holds it." in shown


def test_an_error_says_what_to_do() -> None:
    turn = failed(
        Turn(1, "?", 68), "No model.", hint="assistant models pull x", elapsed_seconds=1.0
    )
    shown = check_safe(page.turn(turn)).text()
    assert "No model." in shown
    assert "assistant models pull x" in shown


def test_a_rewritten_question_is_shown_and_an_unchanged_one_is_not() -> None:
    rewritten = last_turn(followed_up_story())
    assert "How large are the states that Larch keeps?" in Reader(page.turn(rewritten)).text()
    same = replace(rewritten, question=rewritten.standalone_question or "")
    assert "understood as" not in page.turn(same)


def test_a_question_of_a_hundred_thousand_characters_does_not_fill_the_page() -> None:
    turn = Turn(1, "why " * 25_000, collection_papers=68)
    assert len(page.turn(turn)) < 10_000
    assert "100,000 characters" in page.turn(turn)


@pytest.mark.parametrize(
    ("story", "told"),
    [
        (answered_story()[:0], "searching 68 papers"),
        (answered_story()[:1], "searched 68 papers, 0.1 s"),
        (answered_story()[:2], "reading 1 of 2"),
        (answered_story()[:3], "reading 2 of 2"),
        (abstained_story()[:2], "comparing papers"),
        (answered_story()[:8], "writing"),
        (answered_story(), "compared 4"),
        (abstained_story()[:1], "1 question ahead of yours"),
        (abstained_story(), "no answer"),
    ],
)
def test_the_stages_are_told(story: list[Event], told: str) -> None:
    assert told in Reader(page.turn(last_turn(story))).text()


def test_screen_readers_hear_stages_and_answers_but_not_every_word() -> None:
    said: list[str] = []
    for count in range(len(answered_story()) + 1):
        news = page.announcement(last_turn(answered_story()[:count]))
        if not said or said[-1] != news:
            said.append(news)
    assert len(said) < 8
    assert "5.7 seconds" in said[-1]


@given(st.integers(0, 10**6))
def test_the_collection_is_counted(papers: int) -> None:
    counted: Any = check_header(papers)
    assert (f"{papers:,}" in counted) == (papers > 0)


def check_header(papers: int) -> str:
    return Reader(page.header(papers, "default")).text()
