r"""One spelling of a text for search: ``T\"ULU``, ``TÜLU`` and ``Tülu`` become the same. Pure.

Used for papers and questions alike, and for search only: what is shown or cited is never changed.
Letter case and word forms are left to the analysers of the indexes.
"""

from __future__ import annotations

import re
import unicodedata

# Letters that Unicode does not decompose, and LaTeX's names for them.
_LETTERS = str.maketrans(
    {
        "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O",
        "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th",
        "ı": "i",
    }
)  # fmt: skip
_MARKS = str.maketrans(
    dict.fromkeys("‐‑‒–—―−", "-")
    | dict.fromkeys("‘’‚‛′`´", "'")
    | dict.fromkeys("“”„‟″«»", '"')
    | {"…": "...", "\u00ad": "", "\u200b": "", "\u200c": "", "\u200d": "", "\ufeff": ""}
)
_LATEX_LETTERS = {
    "ss": "ss", "ae": "ae", "AE": "AE", "oe": "oe", "OE": "OE", "o": "o", "O": "O", "l": "l",
    "L": "L", "aa": "a", "AA": "A", "i": "i", "j": "j",
}  # fmt: skip

# \"{U}, \"U, \'e, \^{\i}; and with a letter for the accent: \c{c}, \v s, \H{o}
_ACCENT = re.compile(
    r"""\\(?:["'`^~=.]\s*|[cvHudbkrt](?=\s*\{|\s+\\?[a-zA-Z]\b)\s*)\{?\\?([a-zA-Z])\}?"""
)
_LETTER_COMMAND = re.compile(r"\\(ss|ae|AE|oe|OE|aa|AA|o|O|l|L|i|j)(?![a-zA-Z])(?:\{\})?\s?")
_CITATION = re.compile(
    r"~?\\(?:cite[a-zA-Z]*|ref|eqref|label|footnotemark)\*?(?:\[[^\]]*\])*\{[^{}]*\}"
)
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[^{}]*\}")
_HREF = re.compile(r"\\href\{[^{}]*\}")
_COMMAND = re.compile(r"\\([a-zA-Z]+)\*?")
_SPACING = re.compile(r"\\[,;:!> ]|\\\\|~")
_ESCAPED = re.compile(r"\\([%&$#_{}])")
# R^3 and R^{3} are one word, as people type it; x_i and x_{i} are two, as analysers read it.
_SUPERSCRIPT = re.compile(r"(?<=\w)\^(?:\{\s*([\w+\-]+)\s*\}|(?=[\w+\-]))")
_SUBSCRIPT = re.compile(r"(?<=\w)_\{")
_DASHES = re.compile(r"-{2,}")
_MATH_MARKS = re.compile(r"[{}$^]")
# Commands that only set type; any other keeps its name, which is often the word (\alpha, \sim).
_STYLE_COMMANDS = frozenset(
    {
        "textit", "textbf", "texttt", "textsc", "textrm", "textsf", "emph", "underline", "text",
        "mathrm", "mathbf", "mathbb", "mathcal", "mathit", "mathsf", "mathfrak", "operatorname",
        "bm", "boldsymbol", "ensuremath", "url", "it", "bf", "em", "tt", "sc", "rm", "sf", "left",
        "right", "big", "Big", "large", "Large", "small", "tiny", "footnotesize", "mbox", "hbox",
        "xspace",
    }
)  # fmt: skip


def normalize(text: str) -> str:
    """Reduce a text to the spelling that search compares.

    LaTeX left-overs lose their commands and keep their words, accents and ligatures are folded to
    plain letters, dashes and quotes to their ASCII forms, white space to single spaces.

    Args:
        text: Any text; lone surrogates and NUL characters are tolerated.

    Returns:
        The text to index or to analyse; applying ``normalize`` again changes nothing more in
        ordinary prose.
    """
    # First of all, so that one text in two encodings is one text to every rule below.
    text = unicodedata.normalize("NFC", text)
    if "\\" in text or "$" in text or "^" in text or "~" in text or "{" in text:
        text = _strip_latex(text)
    return " ".join(_DASHES.sub(" - ", _fold(text)).split())


def _strip_latex(text: str) -> str:
    text = _CITATION.sub(" ", text)
    text = _ENVIRONMENT.sub(" ", text)
    text = _HREF.sub("", text)
    text = _ACCENT.sub(r"\1", text)
    text = _LETTER_COMMAND.sub(lambda match: _LATEX_LETTERS[match.group(1)], text)
    text = _ESCAPED.sub(r"\1", text)
    text = _SPACING.sub(" ", text)
    text = _COMMAND.sub(_command, text)
    text = _SUPERSCRIPT.sub(r"\1", text)
    text = _SUBSCRIPT.sub(" ", text)
    return _MATH_MARKS.sub("", text).replace("\\", " ")


def _command(match: re.Match[str]) -> str:
    name = match.group(1)
    return "" if name in _STYLE_COMMANDS else f" {name} "


def _fold(text: str) -> str:
    if text.isascii():
        return text.replace("\0", " ").replace("`", "'")
    # Marks before: some decompose to other marks. Letters after: some bear accents, such as "ǽ".
    text = unicodedata.normalize("NFKD", text.translate(_MARKS))
    kept = (
        char
        for char in text
        if not unicodedata.combining(char) and not "\ud800" <= char <= "\udfff"
    )
    return "".join(kept).translate(_MARKS).translate(_LETTERS).replace("\0", " ")
