"""Tables as .xlsx, row by row in both directions. Only importer of ``openpyxl``.

Knows nothing of questions and answers. No cell that is written is ever a formula.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from typing import Any, BinaryIO

from assistant.errors import QuestionFileError
from assistant.escaping import json_text, shorten

MOST_ROWS = 1_048_576
"""Of a sheet, its header among them; so Excel has it."""
_MOST_CHARS = 32_767
_MOST_EXACT_INTEGER = 2**53
# What XML cannot hold or would change stands as _xHHHH_ (ECMA-376 part 1, 22.9.2.19, ST_Xstring).
_UNHOLDABLE = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_rows(file: BinaryIO, name: str) -> Iterator[tuple[int, Sequence[Any]]]:
    """The rows of the first sheet that hold something: number, from 1, and values.

    Of a formula, the value that the spreadsheet program has kept is taken. Dates are texts as in
    ISO 8601.

    Raises:
        QuestionFileError: It is no workbook, or a damaged one.
    """
    from openpyxl import load_workbook

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which nobody looks at here
            book = load_workbook(file, read_only=True, data_only=True)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # some programs write wrong ones
        for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
            if any(cell is not None and cell != "" for cell in cells):
                yield number, [_value(cell) for cell in cells]
    except Exception as error:
        # A damaged file makes the parser fail in many ways: zip, XML, missing parts.
        raise QuestionFileError(
            f"no workbook that can be read ({type(error).__name__})",
            path=name,
            line=None,
            hint="save it again as .xlsx, or as .csv",
        ) from error


def write_rows(file: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a sheet; texts are texts, whatever they begin with, numbers numbers.

    A text that is too long for a cell ends in an ellipsis.
    """
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet("answers")
    sheet.freeze_panes = "A2"

    def cell(value: Any) -> Any:
        shown = _held(value)
        made = WriteOnlyCell(sheet, value=shown)
        if isinstance(shown, str):
            made.data_type = "s"  # not "f", whatever it begins with
            made.quotePrefix = shown[:1] in {"=", "+", "-", "@", "'"}  # nor when it is edited
        return made

    for values in itertools.chain([header], rows):
        sheet.append([cell(value) for value in values])
    book.save(file)


def _value(cell: Any) -> Any:
    if isinstance(cell, str):
        return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), cell) or None
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    return cell if cell is None or isinstance(cell, bool | int | float) else str(cell)


def _held(value: Any) -> Any:
    """The value as a cell can hold it."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) <= _MOST_EXACT_INTEGER:
        return value
    text = value if isinstance(value, str) else json_text(value)
    whole = _SURROGATE.sub("\ufffd", shorten(text, _MOST_CHARS))
    return _UNHOLDABLE.sub(lambda match: f"_x{ord(match[0]):04X}_", whole)
