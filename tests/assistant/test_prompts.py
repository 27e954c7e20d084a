"""A prompt file is checked when it is loaded, and filled in one pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import PromptError
from assistant.llm.prompts import load_prompts
from assistant.resources import resource

BUNDLED = resource("prompts/answer.toml")


@given(st.text(), st.text())
def test_a_placeholder_in_a_paper_is_never_filled(title: str, abstract: str) -> None:
    filled = load_prompts(BUNDLED).paper.substitute(
        title=title + "$abstract ${question}", abstract=abstract + "$title $$ {title} %(title)s"
    )
    assert title + "$abstract ${question}" in filled
    assert abstract + "$title $$ {title} %(title)s" in filled


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("$question", "$query", "placeholders"),
        ("$title", "title", "placeholders"),
        ("\nbullet =", "\nbulet =", "unknown part 'bulet'"),
        ('\nanswer = """', '\nanswer = """x""" # ', "cannot read|placeholders|unknown"),
        ("$abstract", "$abstract $", "placeholders"),
    ],
)
def test_a_part_that_is_wrong_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = tmp_path / "answer.toml"
    path.write_text(BUNDLED.read_text().replace(old, new))
    with pytest.raises(PromptError, match=complaint) as caught:
        load_prompts(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_foreign_bytes_are_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError):
        load_prompts(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PromptError):
        load_prompts(tmp_path / "bad.toml")
