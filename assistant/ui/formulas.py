r"""Formulas in running text, typeset by the browser itself: LaTeX to MathML, offline. Pure.

Formulas stand between ``$...$``, ``$$...$$``, ``\(...\)`` or ``\[...\]``; a dollar that is money is
none (Pandoc's rule: no space inside, no digit behind). Text of papers is untrusted: of what the
converter makes only MathML's own elements and harmless attributes are kept, and what cannot be
converted is shown as it was written.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from typing import NamedTuple
from xml.etree.ElementTree import Element, tostring

_FORMULA = re.compile(
    r"(?<!\\)\$\$(?P<block>[^$]+?)\$\$"
    r"|(?<![\\$\w])\$(?P<inline>(?=\S)(?:\\.|[^$\\\n])+?(?<=[^\s\\]))\$(?![\d$])"
    r"|\\\((?P<round>.+?)\\\)"
    r"|\\\[(?P<square>.+?)\\\]",
    re.DOTALL,
)
_SIGN = re.compile(r"\\([$%&#_])")
"""A sign that means something to LaTeX, and is meant as itself."""
_ACCENT = re.compile(
    r"(?<=[^\W\d_])\\(?P<accent>['\"`^~])(?P<brace>\{)?(?P<letter>[aeiounAEIOUN])(?(brace)\})"
)
"""Within a word, and on letters that have accents: elsewhere it may be a quote that was escaped."""
_COMBINING = {"'": "\u0301", '"': "\u0308", "`": "\u0300", "^": "\u0302", "~": "\u0303"}
_MOST_CHARS = 400
_ELEMENTS = frozenset(
    "math mrow mi mn mo ms mtext mspace msup msub msubsup mfrac msqrt mroot mover munder munderover"
    " mtable mtr mtd mstyle mpadded mphantom menclose mmultiscripts mprescripts none".split()
)
_ATTRIBUTES = frozenset(
    "display mathvariant stretchy fence form separator accent accentunder width height depth lspace"
    " rspace linethickness columnalign rowspacing columnspacing displaystyle scriptlevel minsize"
    " maxsize symmetric largeop movablelimits notation".split()
)
_CHILDREN = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "mover": 2, "munder": 2}
_CHILDREN |= {"msubsup": 3, "munderover": 3}
"""Elements that need so many, or a browser shows an error."""
_NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"


class Formula(NamedTuple):
    """Where a formula stands in its text, and what shows it."""

    start: int
    end: int
    mathml: str


def typeset(text: str, start: int = 0, end: int | None = None) -> str:
    r"""Return a part of a text as HTML: its formulas as MathML, all else escaped.

    A sign that is written as LaTeX wants it, such as ``\$``, loses its backslash, and a letter
    within a word gets the accent that stands before it.

    Args:
        text: The whole, which decides what is a formula.
        start: Where the part begins, in characters.
        end: Where it ends; a formula that is cut by one of the two is shown as it was written.
    """
    end = len(text) if end is None else end
    pieces: list[str] = []
    position = start
    for formula in _formulas(text) if _may_hold_one(text) else ():
        if start <= formula.start and formula.end <= end:
            pieces += [_escaped(text[position : formula.start]), formula.mathml]
            position = formula.end
    pieces.append(_escaped(text[position:end]))
    return "".join(pieces)


def _escaped(text: str) -> str:
    return html.escape(_SIGN.sub(r"\1", _ACCENT.sub(_accented, text)))


def _accented(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", match["letter"] + _COMBINING[match["accent"]])


def _may_hold_one(text: str) -> bool:
    return "$" in text or r"\(" in text or r"\[" in text


@functools.lru_cache(maxsize=2048)
def _formulas(text: str) -> tuple[Formula, ...]:
    found = []
    for match in _FORMULA.finditer(text):
        latex = next(group for group in match.groups() if group is not None)
        if (mathml := _mathml(latex)) is not None:
            found.append(Formula(match.start(), match.end(), mathml))
    return tuple(found)


def _mathml(latex: str) -> str | None:
    """The formula as an element; None if it cannot be converted safely."""
    from latex2mathml.converter import convert_to_element

    if len(latex) > _MOST_CHARS:
        return None
    try:
        converted = convert_to_element(latex)
    except Exception:  # noqa: BLE001 - a formula is anybody's text, and fails in many ways
        return None
    cleaned = _cleaned(converted)
    if cleaned is None:
        return None
    cleaned.set("alttext", latex)
    return tostring(cleaned, encoding="unicode")


def _cleaned(element: Element) -> Element | None:
    """A copy with harmless attributes alone; None if an element is unknown or incomplete."""
    tag = element.tag.removeprefix(_NAMESPACE)
    if tag not in _ELEMENTS or len(element) != _CHILDREN.get(tag, len(element)):
        return None
    copy = Element(tag, {k: v for k, v in element.attrib.items() if k in _ATTRIBUTES})
    copy.text = html.unescape(element.text) if element.text else None
    copy.tail = element.tail
    for child in element:
        kept = _cleaned(child)
        if kept is None:
            return None
        copy.append(kept)
    return copy
