"""Which papers a search may find: by year, author, venue, metadata or id. Pure.

Knows what people type and the conditions it stands for; the lexical index decides which papers
meet them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

Operator = Literal["=", "<", "<=", ">", ">="]

_YEARS = re.compile(r"\s*(\d{1,4})?\s*(\.\.|-|–)?\s*(\d{1,4})?\s*")
_COMPARED_FIELD = re.compile(r"[\w. -]+")
_CONDITION = re.compile(r"\s*([^=<>]+?)\s*(<=|>=|=|<|>)\s*(.+?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """A field of the metadata compared with a value; fields inside fields are named ``a.b``."""

    field: str
    operator: Operator
    value: str


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that a paper must meet, all of them. Without any, every paper does."""

    years: tuple[int | None, int | None] = (None, None)
    """The first and the last; None for no bound. A paper without a year meets no bound."""
    authors: tuple[str, ...] = ()
    """Names or parts of them, of letters with or without accents; each must be an author's."""
    venues: tuple[str, ...] = ()
    """Words that stand together in the venue; one of them is enough."""
    conditions: tuple[Condition, ...] = ()
    ids: tuple[str, ...] | None = None
    """Only these papers; None for all."""

    def __bool__(self) -> bool:
        """Tell whether there is any condition."""
        return self != Filters()


def filters(
    *,
    year: str | None = None,
    authors: Iterable[str] = (),
    venues: Iterable[str] = (),
    where: Sequence[str] = (),
    ids: Iterable[str] | None = None,
) -> Filters:
    """Read filters as people type them.

    Args:
        year: ``2023``, ``2020..2023``, ``2023..`` or ``..2019``.
        authors: Names.
        venues: Names of journals, conferences or series.
        where: Conditions on the metadata such as ``category=cs.CL`` or ``upvotes>=50``.
        ids: Of the papers that may be found.

    Returns:
        The conditions.

    Raises:
        ValueError: If one cannot be read; says which, and what it may look like.
    """
    return Filters(
        years=_years(year) if year is not None else (None, None),
        authors=tuple(_named(each, "author") for each in authors),
        venues=tuple(_named(each, "venue") for each in venues),
        conditions=tuple(_condition(each) for each in where),
        ids=None if ids is None else tuple(ids),
    )


def _years(text: str) -> tuple[int | None, int | None]:
    match = _YEARS.fullmatch(text)
    first, dots, last = match.groups() if match else (None, None, None)
    if not first and not last:
        raise ValueError(f'"{text}" is no year: 2023, 2020..2023, 2023.. or ..2019')
    if not dots:
        return int(text), int(text)
    years = int(first) if first else None, int(last) if last else None
    if years[0] is not None and years[1] is not None and years[0] > years[1]:
        raise ValueError(f'"{text}" ends before it begins: {years[1]}..{years[0]}')
    return years


def _named(text: str, what: str) -> str:
    if not any(char.isalnum() for char in text):
        raise ValueError(f'"{text}" is no {what}')
    return text


def _condition(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is no condition: FIELD=VALUE, or with < <= > >= for numbers')
    field, operator, value = match.groups()
    if operator != "=":
        if not _COMPARED_FIELD.fullmatch(field):
            raise ValueError(
                f'"{field}" can be compared by = alone: it has more than letters in it'
            )
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            raise ValueError(f'"{text}" compares with "{value}", which is no number')
    return Condition(field, operator, value)  # type: ignore[arg-type]  # the pattern's own
