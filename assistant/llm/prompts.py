"""Load, check and fill the prompt file. Knows nothing of models or tokens."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from string import Template

from assistant.errors import PromptError

_PLACEHOLDERS: dict[str, frozenset[str]] = {
    "system": frozenset(),
    "paper": frozenset({"title", "abstract"}),
    "question": frozenset({"question"}),
    "answer": frozenset(),
    "reminder": frozenset(),
    "bullet": frozenset(),
}


@dataclass(frozen=True, slots=True)
class Prompts:
    """The parts of a prompt file, each with exactly the placeholders that it must have."""

    system: Template
    paper: Template
    question: Template
    answer: Template
    reminder: Template
    bullet: Template


def load_prompts(path: Path) -> Prompts:
    """Read a prompt file.

    Raises:
        PromptError: The file cannot be read, or a part or placeholder is missing or unknown.
    """
    try:
        parts = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PromptError(
            f"cannot read the prompt file {path}: {error}", path=str(path), hint="restore the file"
        ) from error
    names = [field.name for field in fields(Prompts)]
    if unknown := sorted(parts.keys() - set(names)):
        raise _complaint(path, f"unknown part {unknown[0]!r}; known: {', '.join(names)}")
    return Prompts(**{name: _checked(path, name, parts.get(name)) for name in names})


def _checked(path: Path, name: str, text: object) -> Template:
    if not isinstance(text, str) or not text.strip():
        raise _complaint(path, f"the part {name!r} is missing or not a text")
    template = Template(text)
    found = frozenset(template.get_identifiers())
    if not template.is_valid() or found != _PLACEHOLDERS[name]:
        wanted = ", ".join(f"${each}" for each in sorted(_PLACEHOLDERS[name])) or "none"
        raise _complaint(path, f"the part {name!r} must use these placeholders: {wanted}")
    return template


def _complaint(path: Path, message: str) -> PromptError:
    return PromptError(f"{path}: {message}", path=str(path), hint="mend the prompt file")
