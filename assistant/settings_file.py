"""The user's settings file, changed in place: what is not changed stays to the character.

Also tells what wins over it. Knows no setting by name.

Reference:
    TOML 1.0; comments and order are kept by tomlkit.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assistant.errors import SettingsError
from assistant.settings import Settings, settings_files
from assistant.settings_sources import unusable

_WRITING = threading.Lock()


class SettingsFile:
    """A file of settings, which need not be there.

    Args:
        path: Of the file; by default the one in the user's configuration folder.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or settings_files()[0]

    def text(self) -> str:
        """All of it; empty if there is no such file.

        Raises:
            SettingsError: It cannot be read.
        """
        try:
            return self.path.read_bytes().decode()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise self._complaint(f"cannot be read: {error}") from error

    def values(self) -> Mapping[str, Any]:
        """What it sets, by name.

        Raises:
            SettingsError: It cannot be read.
        """
        return dict(self._parsed())

    def save(self, changes: Mapping[str, Any]) -> None:
        """Set what is changed; what is back at its default, or None, is taken out.

        Raises:
            SettingsError: The file cannot be read or written.
        """
        with _WRITING:
            document = self._parsed()
            for name, value in changes.items():
                if value is not None and value != Settings.model_fields[name].default:
                    document[name] = value
                else:
                    document.pop(name, None)
            self._write(document.as_string())

    def _parsed(self) -> Any:
        import tomlkit
        from tomlkit.exceptions import TOMLKitError

        try:
            return tomlkit.parse(self.text())
        except TOMLKitError as error:
            raise self._complaint(f"is no TOML: {error}") from error

    def _write(self, text: str) -> None:
        # Where it is a link, as people who keep such files elsewhere have it, the link stays.
        path = self.path.resolve()
        if not text and not path.exists():
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch(mode=0o600)  # it may hold a key
            temporary.write_bytes(text.encode())
            if path.exists():
                shutil.copymode(path, temporary)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._complaint(f"cannot be written: {error}") from error

    def _complaint(self, what: str) -> SettingsError:
        return unusable(self.path, what)


def winner(name: str, settings: Settings) -> str:
    """What wins over the user's file when the program starts, in words; empty if nothing does."""
    source = settings.origins.get(name)
    return "" if source is None or source.kind == "own file" else source.describe(name)
