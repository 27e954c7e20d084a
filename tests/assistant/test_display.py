"""An answer as a notebook shows it."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from assistant.types import Citation, Sentence
from tests.fakes import PAPERS, answer, citation, hostile_story

HARMLESS = {"p", "br", "ol", "li", "cite", "q", "abbr"}
TEXTS = st.text(st.sampled_from("ab <>\"'&[]1/=\n"), max_size=30)


class Shown(HTMLParser):
    """What a browser makes of a piece of HTML."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.hints: list[str] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.hints += [value or "" for name, value in attrs if name == "title"]
        if tag == "br":
            self.text += "\n"

    def handle_data(self, data: str) -> None:
        self.text += data


@given(TEXTS, TEXTS, TEXTS)
def test_whatever_is_in_an_answer_is_shown_as_text(said: str, title: str, quote: str) -> None:
    cited = Citation(7, "p", title, "p:0", 0, len(quote), quote)
    shown = Shown(answer("?", [Sentence(f"{said} [7]", (cited,), 1.0)], PAPERS)._repr_html_())
    assert shown.tags <= HARMLESS
    assert shown.attributes <= {"title", "value"}
    assert shown.text == f"{said} [7]{title}: {quote}"
    assert shown.hints == [f"{title}: “{quote}”"]


def test_a_marker_shows_its_quotation_and_other_brackets_none() -> None:
    cited = citation(1, PAPERS[0], "Larch")
    shown = Shown(
        answer("?", [Sentence("As in [2, 3] and [5]. [1]", (cited,), 1.0)], [])._repr_html_()
    )
    assert shown.hints == [f"{PAPERS[0].title}: “Larch”"]


def test_a_hostile_paper_is_text() -> None:
    shown = Shown(hostile_story()[-1].answer._repr_html_())  # type: ignore[union-attr]
    assert shown.tags <= HARMLESS
