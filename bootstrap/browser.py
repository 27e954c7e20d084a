"""Finds a Chromium for the browser tests, or installs one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MAC_APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_DOWNLOAD_SECONDS = 900

_HINT = """\
The browser tests need Chromium, and none could be installed. Get it with
  Debian            sudo apt-get install chromium
  Fedora            sudo dnf install chromium
  macOS             brew install --cask chromium
or name one: make test CHROMIUM=/path/to/chrome"""


class BrowserMissingError(Exception):
    """There is no Chromium and none could be installed; the message is meant for the user."""


def find() -> str | None:
    """Return the path of an installed Chromium or Chrome; $CHROMIUM goes first."""
    own = os.environ.get("CHROMIUM")
    candidates = [own] if own else [*NAMES, *_MAC_APPLICATIONS]
    return next(filter(None, map(shutil.which, candidates)), None)


def ensure(python: Path) -> str:
    """Find a Chromium, or else install one; return its path.

    Args:
        python: The interpreter that has Playwright.

    Raises:
        BrowserMissingError: If there is none and none could be installed.
    """
    if found := find():
        return found
    if os.environ.get("CHROMIUM"):
        raise BrowserMissingError(f"CHROMIUM={os.environ['CHROMIUM']} is not a program.\n{_HINT}")
    if _downloaded_starts(python) or (_download(python) and _downloaded_starts(python)):
        return "the one that Playwright downloaded"
    if _install_package() and (found := find()):
        return found
    raise BrowserMissingError(_HINT)


def _download(python: Path) -> bool:
    print("  none is installed; downloading the one that Playwright offers", flush=True)
    environment = {**os.environ, "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "10000"}
    return _succeeds([python, "-m", "playwright", "install", "chromium"], environment)


def _downloaded_starts(python: Path) -> bool:
    """Start it: a download may lack libraries of the system."""
    code = (
        "from playwright.sync_api import sync_playwright as start\n"
        "with start() as playwright: playwright.chromium.launch().close()"
    )
    return _succeeds([python, "-c", code], dict(os.environ))


def _install_package() -> bool:
    """Install Debian's package, where that is possible without a question."""
    if not shutil.which("apt-get"):
        return False
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    prefix = [] if is_root else ["sudo", "--non-interactive"]
    print("  that did not work; installing the system's package", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return _succeeds([*prefix, "apt-get", "update"], environment) and _succeeds(
        [*prefix, "apt-get", "install", "--yes", "--no-install-recommends", "chromium"], environment
    )


def _succeeds(command: Sequence[str | Path], environment: dict[str, str]) -> bool:
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_DOWNLOAD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
