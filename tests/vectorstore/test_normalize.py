from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vectorstore import normalize


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"T\"ULU 3", "TULU 3"),
        (r"T\"{U}LU", "TULU"),
        ("TÜLU", "TULU"),
        (unicodedata.normalize("NFD", "TÜLU"), "TULU"),
        (r"Fr\'echet", "Frechet"),
        (r"Fr{\'e}chet", "Frechet"),
        (r"na\"{\i}ve", "naive"),
        (r"Fran\c{c}ois \v{S}ef", "Francois Sef"),
        (r"Erd\H{o}s", "Erdos"),
        (r"Stra{\ss}e", "Strasse"),
        ("Straße Ørsted Łódź", "Strasse Orsted Lodz"),
        (r"S{\o}ren", "Soren"),
        ("$R^3$ and R^3 and $R^{3}$", "R3 and R3 and R3"),
        (r"$x_{i}$ or $x_i$", "x i or x_i"),
        (r"\textit{very} \textbf{bold \emph{text}}", "very bold text"),
        (r"77\% of R\&D", "77% of R&D"),
        (r"as shown~\citep{smith2020,doe} here", "as shown here"),
        (r"see \cite[p.~3]{x}.", "see ."),
        (r"at \url{https://example.org/a}", "at https://example.org/a"),
        (r"\href{https://example.org}{our page}", "our page"),
        (r"$\alpha$-divergence", "alpha -divergence"),
        ("one---two -- three — four", "one - two - three - four"),
        ("ﬁne “quotes” and ‘marks’", "fine \"quotes\" and 'marks'"),
        ("zero\u200bwidth soft\u00adhyphen", "zerowidth softhyphen"),
        ("a\0b \ud800 c", "a b c"),
        ("  many \n\t spaces ", "many spaces"),
        ("plain text, left alone.", "plain text, left alone."),
        ("a -- zero-shot", "a - zero-shot"),
    ],
)
def test_what_is_written_differently_is_searched_alike(text: str, plain: str) -> None:
    assert normalize(text) == plain


@given(st.text())
def test_the_result_can_be_stored_anywhere(text: str) -> None:
    plain = normalize(text)
    plain.encode("utf-8")
    assert "\0" not in plain
    assert plain == " ".join(plain.split())


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Ǽ", "AE"),  # a ligature with an accent
        ("Ǿ", "O"),  # a stroke and an accent
        ("ǟ é^2 and ü_{i}", "a e2 and u i"),  # behind an accented letter
        ("\u212b \u1ffd \u1fef \u037e", "A ' ' ;"),  # canonically another character
    ],
)
def test_accented_letters_are_folded_in_every_encoding(text: str, plain: str) -> None:
    for each in (text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)):
        assert normalize(each) == plain


@given(st.text() | st.text("Ææßøıaeéñ\u0301\u0308\u0327^_{}$\\\"'~ 12"))
@example("Ǽ")
@example("é^2")
def test_composed_and_decomposed_text_are_the_same(text: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert normalize(composed) == normalize(decomposed) == normalize(text)


@given(st.text("abcXYZ .,;:!?()-0123456789éüñ\n"))
def test_letters_of_ordinary_prose_stay(text: str) -> None:
    def count(value: str) -> int:
        return sum(char.isalnum() for char in unicodedata.normalize("NFC", value))

    assert count(normalize(text)) == count(text)
    assert normalize(normalize(text)) == normalize(text)
