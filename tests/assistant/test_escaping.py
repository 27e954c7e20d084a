"""Other people's text loses its power and keeps its letters."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.escaping import json_text, markdown_line, plain, plain_line

# How fast an example is on a busy machine is no promise of ours.
patient = settings(deadline=None)

anything = st.text(st.characters(codec=None))
ordinary = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"]))


@patient
@given(text=anything)
def test_plain_text_moves_no_cursor_and_can_be_written(text: str) -> None:
    shown = plain(text)
    assert all(char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cs"} for char in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    shown.encode()
    assert plain(shown) == shown


@patient
@given(text=ordinary)
def test_plain_text_keeps_what_is_harmless(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[31m",
        "\x1b[2J",
        "\x9b2J",
        "\x1b]0;title\x07",
        "\x1b]8;;http://x\x1b\\",
        "\x1bPdevice\x1b\\",
        "\x1bc",
        "\x1b(B",
        "\r",
        "\u202e",
    ],
)
def test_an_escape_sequence_goes_as_a_whole(sequence: str) -> None:
    assert plain_line(f"be{sequence}fore") == "before"


@patient
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | anything,
        lambda inner: st.lists(inner) | st.dictionaries(anything, inner),
        max_leaves=8,
    ),
    ascii_only=st.booleans(),
)
def test_json_is_the_same_value_in_writable_text(value: object, ascii_only: bool) -> None:
    text = json_text(value, ascii_only=ascii_only)
    assert json.loads(text) == value
    assert len(text.splitlines()) == 1
    text.encode("ascii" if ascii_only else "utf-8")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_has_not_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text(value)


@patient
@given(text=st.text(st.characters(codec="utf-8")))
def test_a_markdown_line_opens_nothing(text: str) -> None:
    line = markdown_line(text)
    assert "\n" not in line
    unescaped = 0
    for position, char in enumerate(line):
        backslashes = len(line[:position]) - len(line[:position].rstrip("\\"))
        unescaped += char in "`*_<>[]#|~$&!" and backslashes % 2 == 0
    assert unescaped == 0
    assert line[:1] not in {"-", "+", "="}
