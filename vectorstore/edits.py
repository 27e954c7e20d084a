"""Edits of a paper by hand, and how they live beside its source. Pure.

The policy: what was edited stays edited. A paper notes the names of the fields that somebody has
set or removed (``edited_fields`` among its metadata). When an ingest brings the paper again, it
takes all other fields from its source, keeps these, and counts the paper as edited; asked to, it
takes the source as it is, and the note goes.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from vectorstore.sources.columns import FIELDS, REQUIRED
from vectorstore.sources.fields import (
    PAPER_FIELDS,
    FieldError,
    checked_paper,
    edited_value,
    fields_of,
)
from vectorstore.types import Paper

EDITED = "edited_fields"

_OWN = frozenset(PAPER_FIELDS) - {"metadata"}
_LIKE_A_FIELD = 0.7


def edited(paper: Paper, changes: Mapping[str, str], removals: Collection[str] = ()) -> Paper:
    """Return a paper with some fields set and others removed, and a note of that.

    Args:
        paper: As it is.
        changes: New values by field, as typed; names are those of an ingest (``doi`` and
            ``arxiv_id`` among them), and any other is that of metadata.
        removals: Fields to remove.

    Raises:
        FieldError: If a paper cannot be so, or has no such field to remove.
    """
    if both := changes.keys() & set(removals):
        raise FieldError(f"{min(both)} is both set and removed", "do one of the two")
    fields = fields_of(paper)
    metadata = fields["metadata"] = dict(paper.metadata)
    for name, text in changes.items():
        _refuse(name, metadata)
        holder = fields if name in _OWN else metadata
        holder[name] = edited_value(name, text)
    for name in removals:
        _refuse(name, metadata)
        if name in REQUIRED:
            raise FieldError(f"a paper needs its {name}", f"set it: --set {name}=...")
        if name in _OWN:
            fields[name] = () if name == "authors" else None
        elif name in metadata:
            del metadata[name]
        else:
            raise FieldError(
                f"the paper has no {name}", "assistant papers show ID lists what it has"
            )
    touched = {name for name in (*changes, *removals) if _value(paper, name) != _get(fields, name)}
    if names := sorted({*edited_fields(paper), *touched}):
        metadata[EDITED] = names
    return checked_paper(fields)


def with_edits_of(before: Paper, paper: Paper) -> Paper:
    """Return a paper from its source with the fields that were edited in the index."""
    names = edited_fields(before)
    if not names:
        return paper
    fields = fields_of(paper)
    metadata = fields["metadata"] = dict(paper.metadata)
    for name in names:
        value = _value(before, name)
        if name in _OWN:
            fields[name] = value
        elif value is None:
            metadata.pop(name, None)
        else:
            metadata[name] = value
    metadata[EDITED] = sorted({*names, *edited_fields(paper)})
    return Paper(**{**fields, "authors": tuple(fields["authors"])})


def edited_fields(paper: Paper) -> tuple[str, ...]:
    """Return the names of the fields that were edited by hand."""
    names = paper.metadata.get(EDITED, ())
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(name for name in names if name not in ("id", EDITED))


def _value(paper: Paper, name: str) -> Any:
    return getattr(paper, name) if name in _OWN else paper.metadata.get(name)


def _get(fields: Mapping[str, Any], name: str) -> Any:
    return fields[name] if name in _OWN else fields["metadata"].get(name)


def _refuse(name: str, metadata: Mapping[str, Any]) -> None:
    if name == "id":
        hint = "take the paper in under its new id, and remove this one"
        raise FieldError("an id cannot be changed: answers and files refer to it", hint)
    if not name.strip() or name in (EDITED, "metadata"):
        raise FieldError(f'"{name}" cannot be edited', f"the fields are {', '.join(FIELDS)}")
    if name in FIELDS or name in metadata:
        return
    # Another name is metadata, unless it is a slip.
    if near := difflib.get_close_matches(name, FIELDS, n=1, cutoff=_LIKE_A_FIELD):
        raise FieldError(f'a paper has no field "{name}"', f"did you mean {near[0]}?")
