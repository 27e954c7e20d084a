"""Promises of typeset formulas: what is a formula, and that nothing else gets through."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.ui.formulas import typeset
from tests.assistant.test_page import Reader

SAFE = re.compile(r"m[a-z]+|none")


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("an $F_1$ of 0.88 and $\\sigma = 0.3$", 2),
        ("$$x^2$$ and \\(y\\) and \\[z\\]", 3),
        ("it costs $5 today and $6 tomorrow", 0),
        ("below \\$5 a season, or \\$6", 0),
        ("A$B$C is a name", 0),
        ("$ 5 and 6 $", 0),
        ("nothing $\\frac{ to convert$ here", 0),
    ],
)
def test_what_is_a_formula(text: str, formulas: int) -> None:
    assert typeset(text).count("<math") == formulas


def test_a_sign_that_latex_escapes_is_shown_without_its_backslash() -> None:
    text = r"below \$5, 99.4\% of R\&D, where $x = \$2$ and a\\b"
    shown = typeset(text)
    assert shown.startswith("below $5, 99.4% of R&amp;D, where <math")
    assert shown.endswith(r"and a\\b")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"the Fr\'echet mean", "the Fréchet mean"),
        (r"G\"odel, G\"{o}del, Espa\~na", "Gödel, Gödel, España"),
        (r"it isn\'t the model\'s", r"it isn\&#x27;t the model\&#x27;s"),
        (r"said \"attention\" twice", r"said \&quot;attention\&quot; twice"),
    ],
)
def test_accents_of_latex_become_letters_within_words(text: str, shown: str) -> None:
    assert typeset(text) == shown


@given(st.text("$\\{}^_abc<>&\"' \n()[]frachreftextstyle", max_size=60) | st.text(max_size=60))
def test_only_formulas_become_elements(text: str) -> None:
    for tag, attributes in Reader(typeset(text)).tags:
        assert SAFE.fullmatch(tag)
        assert not any(name.startswith("on") or name in ("href", "style") for name in attributes)


@pytest.mark.parametrize(
    "latex",
    [
        r"\href{javascript:alert(1)}{x}",
        r"\text{<img src=x onerror=alert(1)>}",
        r"\style{background:url(//example.org)}{x}",
        r"\class{\"onload=\"alert(1)}{x}",
        "{" * 5_000,
        r"\frac" * 100,
    ],
)
def test_hostile_formulas_do_nothing(latex: str) -> None:
    shown = typeset(f"see ${latex}$ here")
    assert "<img" not in shown
    for _, attributes in Reader(shown).tags:
        assert set(attributes) <= {"display", "alttext", "stretchy", "mathvariant"}


def test_a_formula_that_is_cut_is_shown_as_it_was_written() -> None:
    text = "where $x = 1$ holds"
    middle = text.index("= 1")
    assert typeset(text, 0, middle) + typeset(text, middle) == text
    assert "<math" in typeset(text, 0, len(text) - 2)
