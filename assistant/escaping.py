"""Text for places that would act on it: a terminal, a JSON line, a spreadsheet cell, Markdown.

Pure: strings in, strings out. Titles, abstracts and answers are other people's text; here they
lose the power to move a cursor, start a formula or open a tag.
"""

from __future__ import annotations

import json
import re
from typing import Any

# A sequence that starts with ESC or its one-character form: CSI, OSC and its kin, the short ones.
_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# Controls but for tab and line feed; the marks that turn the direction of text; surrogates.
_DIRECTION_MARKS = "\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNPRINTABLE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_DIRECTION_MARKS}\ud800-\udfff]")
_UNSAFE_IN_JSON = re.compile(f"[\x7f-\x9f\u2028\u2029{_DIRECTION_MARKS}\ud800-\udfff]")
_MARKDOWN_ACTIVE = re.compile(r"\](?=[(\[])|<(?=[A-Za-z/!?])")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_MARKDOWN_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~$&!]")
_MARKDOWN_LINE_START = re.compile(r"^(\s*)([-+=]|\d+(?=[.)]))", re.MULTILINE)


def plain(text: str) -> str:
    """The text without escape sequences, controls and marks that turn its direction."""
    return _UNPRINTABLE.sub("", _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n")))


def plain_line(text: str) -> str:
    """The text as `plain` leaves it, on one line."""
    return " ".join(plain(text).split())


def json_text(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """JSON that any program and any terminal can take.

    The same value as `json.dumps` writes, but what a terminal might act on, what ends a line in
    Unicode and what has no UTF-8 form (a lone surrogate) is written as an escape.

    Raises:
        ValueError: The value holds a NaN or an infinity, which JSON has not.
    """
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, allow_nan=False)
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def csv_cell(value: Any) -> str:
    """A cell that a spreadsheet shows and never runs.

    A text that starts like a formula gets an apostrophe in front, which spreadsheets take as
    "this is text"; a plain number stays one.

    Reference:
        OWASP, "CSV Injection".
    """
    if value is None:
        return ""
    text = value if isinstance(value, str) else json_text(value)
    text = "".join(" " if "\ud800" <= char <= "\udfff" or char == "\0" else char for char in text)
    starts_formula = text[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"}
    return f"'{text}" if starts_formula and not _NUMBER.fullmatch(text) else text


def markdown_text(text: str) -> str:
    """The text as Markdown shows it unchanged: nothing in it is a tag, a list or a heading."""
    escaped = _MARKDOWN_SPECIAL.sub(lambda match: "\\" + match[0], plain(text))
    return _MARKDOWN_LINE_START.sub(_escape_line_start, escaped)


def inactive(text: str) -> str:
    """The text as `plain` leaves it, of which a renderer of Markdown makes no link, image or tag.

    Readable for those who render nothing: all it takes is a space in the few places that matter.
    """
    return _MARKDOWN_ACTIVE.sub(lambda match: match[0] + " ", plain(text))


def markdown_line(text: str) -> str:
    """The text as `markdown_text` leaves it, on one line."""
    return markdown_text(plain_line(text))


def shorten(text: str, most_chars: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= most_chars else text[: most_chars - 1] + "…"


def _escape_line_start(match: re.Match[str]) -> str:
    space, start = match[1], match[2]
    # A list number is defused behind its digits: a backslash before a digit would show.
    return f"{space}{start}\\" if start.isdigit() else f"{space}\\{start}"
