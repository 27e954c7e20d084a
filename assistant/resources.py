"""Where the data files that belong to the program are: ``prompts/`` and ``seeds/``.

They lie beside the packages in a checkout and inside this package in an installed wheel. Knows
nothing of what is in them.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource(name: str) -> Path:
    """Return the path of a bundled file or folder, such as ``prompts`` or ``seeds/README.md``.

    Raises:
        FileNotFoundError: If the installation lacks it.
    """
    # The package first: beside an installed package lie the folders of strangers.
    for parent in (_PACKAGE, _PACKAGE.parent):
        path = parent / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is missing from {_PACKAGE}: install abstract-assistant again")


def asset(name: str) -> str:
    """Return the text of a style or script of the page."""
    return (_PACKAGE / "ui" / name).read_text(encoding="utf-8")
