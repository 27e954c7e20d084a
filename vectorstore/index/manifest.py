"""What an index was built with, and the refusal to use it with anything else.

Knows the JSON file and its fields; nothing of the indexes beside it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vectorstore.errors import IndexDamagedError, IndexMismatchError

FORMAT_VERSION = 2
"""Of the folder as a whole; raise when an older program could not read it, or this one theirs."""

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index was built with. All but the last two must be the same to use it."""

    format_version: int
    embedder: str
    dimension: int
    chunking_version: int
    distance: str
    created_with: str
    """Version of the program; for people."""
    papers: int
    """When the last ingest ended; for people. The records have the last word."""

    def write(self, folder: Path) -> None:
        """Put the file in the folder, whole or not at all."""
        temporary = folder / f"{MANIFEST_NAME}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(self), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / MANIFEST_NAME)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the file of a folder that has one.

        Raises:
            IndexMismatchError: If the index has a format of another version.
            IndexDamagedError: If the file is not a manifest.
        """
        path = folder / MANIFEST_NAME
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            version = int(fields["format_version"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(folder) from error
        if version != FORMAT_VERSION:
            age = "a newer" if version > FORMAT_VERSION else "an older"
            reason = (
                f"the index in {folder} was built by {age} version of the program "
                f"(format {version}, this program reads {FORMAT_VERSION})"
            )
            raise IndexMismatchError(reason, path=folder, hint=repair_hint(folder))
        names = {field.name: field.type for field in dataclasses.fields(cls)}
        if not isinstance(fields, dict) or set(fields) != set(names):
            raise _damaged(folder)
        if any(type(fields[name]).__name__ != kind for name, kind in names.items()):
            raise _damaged(folder)
        return cls(**fields)

    @property
    def decisive(self) -> tuple[str, ...]:
        """Names of the fields that must be the same."""
        return tuple(_DECISIVE)

    def differences(self, built: Mapping[str, Any]) -> list[str]:
        """Tell in words what an index was built with that is different now."""
        return [
            f"{label} {built[name]}, now {getattr(self, name)}"
            for name, label in _DECISIVE.items()
            if built[name] != getattr(self, name)
        ]

    def check(self, wanted: Manifest, folder: Path) -> None:
        """Refuse an index that was built with something else.

        Raises:
            IndexMismatchError: Says what differs; its hint is the command that mends it.
        """
        different = wanted.differences(dataclasses.asdict(self))
        if different:
            reason = f"the index in {folder} was built with {'; '.join(different)}"
            raise IndexMismatchError(reason, path=folder, hint=repair_hint(folder))


_DECISIVE = {
    "embedder": "the embedding model",
    "dimension": "vectors of dimension",
    "chunking_version": "chunking version",
    "distance": "the distance",
}


def repair_hint(folder: Path) -> str:
    """Return the command that mends the index of a folder."""
    return f"assistant repair --index {shlex.quote(str(folder))}"


def rebuild_hint(folder: Path) -> str:
    """Return the command that builds the index of a folder anew."""
    return f"assistant ingest --rebuild PAPERS --index {shlex.quote(str(folder))}"


def _damaged(folder: Path) -> IndexDamagedError:
    reason = f"{folder / MANIFEST_NAME} is not the manifest of an index"
    return IndexDamagedError(reason, path=folder, hint=repair_hint(folder))
