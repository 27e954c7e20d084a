from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorstore.sources.links import find_links
from vectorstore.sources.slugs import MAX_SLUG_CHARS, slug


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Pointer Networks", "pointer-networks"),
        ("UL2: Unifying Language Learning Paradigms", "ul2-unifying-language-learning-paradigms"),
        ("Who's Harry Potter?", "whos-harry-potter"),
        ("TÜLU 3: Open", "tulu-3-open"),
    ],
)
def test_an_id_is_readable(title: str, expected: str) -> None:
    assert slug(title) == expected


@given(st.text(min_size=1).filter(str.strip))
def test_an_id_is_short_and_plain_whatever_the_title(title: str) -> None:
    made = slug(title)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", made)
    assert len(made) <= MAX_SLUG_CHARS
    assert slug(title) == made


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C++ models", "C# models"),
        ("深層学習", "機械学習"),
        ("α-divergence", "β-divergence"),
        ("word " * 20 + "one", "word " * 20 + "two"),
        ("x" * 100 + "a", "x" * 100 + "b"),
    ],
)
def test_titles_that_differ_in_what_an_id_cannot_hold_get_different_ids(
    one: str, other: str
) -> None:
    assert slug(one) != slug(other)


@pytest.mark.parametrize(
    ("abstract", "code", "video"),
    [
        ("Code at https://github.com/a/b.", "https://github.com/a/b", None),
        ("(see https://github.com/a/Twin-Mergin.)", "https://github.com/a/Twin-Mergin", None),
        (r"at \url{https://gitlab.inria.fr/x/y}", "https://gitlab.inria.fr/x/y", None),
        ("https://huggingface.co/a/b, and more", "https://huggingface.co/a/b", None),
        ("Our code is public: https://example.org/c_(v2)!", "https://example.org/c_(v2)", None),
        ("code: github.com/a/b", "https://github.com/a/b", None),
        ("Talk: https://youtu.be/xY-1.", None, "https://youtu.be/xY-1"),
        ("A video is at https://example.org/v; read it.", None, "https://example.org/v"),
        ("Code and videos at https://vimeo.com/1 and www.github.com/q",
         "https://www.github.com/q", "https://vimeo.com/1"),
        ("We share code. Data: https://example.org/d", None, None),
        ("https://github.com.evil.example/x", None, None),
        ("no link at all", None, None),
        ("https:// and http://.", None, None),
        ("https://github.com/1 https://github.com/2", "https://github.com/1", None),
    ],
)  # fmt: skip
def test_links_are_told_by_host_or_by_the_words_before(
    abstract: str, code: str | None, video: str | None
) -> None:
    assert find_links(abstract) == (code, video)


@given(st.text("htps:/.gitub com()[]@codevideo#?", max_size=60))
def test_any_text_can_be_searched_for_links(abstract: str) -> None:
    for url in find_links(abstract):
        assert url is None or url.startswith(("http://", "https://"))
