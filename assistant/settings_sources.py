"""Where the values of settings come from: flags, the environment, and files in TOML.

Knows no setting by name, and not which source wins.

Reference:
    TOML 1.0, read by Python's tomllib.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assistant.errors import SettingsError

NO_FILES_OPTION = "--no-settings-files"
"""The option that has all settings files passed over."""
NO_FILES_VARIABLE = "ASSISTANT_NO_SETTINGS_FILES"
"""The variable of the environment that does the same, if it is not empty."""

_MOST_BYTES = 1_000_000
"""Size of a settings file from which on it is refused; a long one has a few thousand bytes."""


@dataclass(frozen=True, slots=True)
class Source:
    """One place that gives values to settings."""

    kind: Literal["flags", "environment", "own file", "local file"]
    """A local file is one of the working folder, which may be somebody else's."""
    path: Path | None = None

    def describe(self, name: str) -> str:
        """Return the words for where this source sets a setting."""
        if self.path is not None:
            return str(self.path)
        if self.kind == "flags":
            return f"--{name.replace('_', '-')} on the command line"
        return f"ASSISTANT_{name.upper()} in the environment"

    def describe_line(self, name: str) -> str:
        """Return the same words, with the line of the setting where the source is a file."""
        line = None if self.path is None else _line_of(name, self.path)
        return self.describe(name) + (f", line {line}" if line else "")


def read_file(path: Path) -> Mapping[str, Any]:
    """Return what a settings file sets, by name; nothing if there is no such file.

    Raises:
        SettingsError: The file cannot be read, or is no TOML.
    """
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise unusable(path, f"is larger than {_MOST_BYTES:,} bytes")
        return tomllib.loads(path.read_bytes().decode())
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise unusable(path, f"is not UTF-8 (line {line})") from error
    except OSError as error:
        raise unusable(path, f"cannot be read: {error.strerror}") from error
    # Lists in lists in lists, some hundred deep, end in a RecursionError.
    except (ValueError, RecursionError) as error:
        raise unusable(path, f"is no TOML: {error}") from error


def unusable(path: Path, reason: str) -> SettingsError:
    """Return the error that a settings file cannot be used, and how to go on without it."""
    return SettingsError(
        f"the settings file {path} {reason}",
        name=path.name,
        hint=f"mend the file, or pass it over with {NO_FILES_OPTION} ({NO_FILES_VARIABLE}=1)",
    )


def _line_of(name: str, path: Path) -> int | None:
    """Return the number of the line that begins with a setting's name; None if there is none."""
    found = re.compile(rf"""\s*(["']?){re.escape(name)}\1\s*[=.]""")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # gone or replaced meanwhile
        return None
    return next((number for number, line in enumerate(lines, 1) if found.match(line)), None)
