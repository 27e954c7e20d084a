"""Names of people, as bibliographies have them, to names as they are read. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


def display_name(name: str) -> str:
    """Return a name in reading order: ``"Gödel, Kurt"`` becomes ``"Kurt Gödel"``.

    Args:
        name: ``Last, First`` or ``Last, First, Jr.``; what has no comma is kept.
    """
    last, *rest = [part.strip() for part in name.split(",")]
    return " ".join(part for part in (*rest[:1], last, *rest[1:]) if part)


def names_of_list(value: Sequence[object]) -> list[str] | None:
    """Return the names of a list of authors; None if one of them is no name.

    Args:
        value: Of strings, of objects as CSL-JSON, Zotero and Hugging Face have them, or of
            ``[last, first, suffix]`` as the arXiv snapshot has them.
    """
    names: list[str] = []
    for item in value:
        if isinstance(item, str):
            names.append(item)
        elif isinstance(item, Mapping):
            names.append(_name_of_object(item))
        elif isinstance(item, list) and all(isinstance(part, str) for part in item):
            names.append(display_name(", ".join(part for part in item[:3] if part)))
        else:
            return None
    return names


_FIRST = ("given", "firstName", "first_name", "forenames", "first")
_PARTICLES = ("dropping-particle", "non-dropping-particle")
_LAST = ("family", "lastName", "last_name", "last")


def _name_of_object(author: Mapping[str, object]) -> str:
    whole = _first_text(author, ("literal", "name", "fullname", "full_name"))
    particles = (_first_text(author, (name,)) for name in _PARTICLES)
    parts = (_first_text(author, _FIRST), *particles, _first_text(author, _LAST))
    return whole or " ".join(part for part in (*parts, _first_text(author, ("suffix",))) if part)


def _first_text(author: Mapping[str, object], names: Sequence[str]) -> str:
    return next((value for name in names if isinstance(value := author.get(name), str)), "")


def names_of_text(text: str) -> list[str]:
    """Return the names of one string: ``A; B``, or ``A and B``."""
    return re.split(r"\s*;\s*|\s+and\s+", text)


def names_of_citation(text: str) -> list[str]:
    """Return the names of one string in reading order: ``Last, First; Last, First``, or ``A, B``.

    Args:
        text: Of a column that holds names as citations have them, for example Zotero's.
    """
    names = names_of_text(text)
    if (
        len(names) == 1
        and text.count(",") > 1
        and all(" " in part.strip() for part in text.split(","))
    ):
        return text.split(",")
    return [display_name(name) if name.count(",") in (1, 2) else name for name in names]
