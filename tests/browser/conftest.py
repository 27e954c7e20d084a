"""A real headless Chromium over the real page."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.browser import find as find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Visit:
    """One open page, and what it did that a page should not."""

    page: Page
    address: str
    foreign_requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def ask(self, question: str) -> None:
        """Type a question and press Enter."""
        self.page.locator("#question textarea").fill(question)
        self.page.keyboard.press("Enter")

    def turn(self, state: str, question: str) -> Any:
        """Wait for the current turn to reach a state, and return it."""
        turn = self.page.locator(f'#current .turn[data-state="{state}"]', has_text=question)
        turn.wait_for()
        return turn


@dataclass(frozen=True)
class Journal:
    """What became of the streams of the served assistant."""

    path: Path

    @property
    def asked(self) -> list[tuple[str, tuple[str, ...]]]:
        """Questions with their histories, in order."""
        return [(entry[1], tuple(entry[2])) for entry in self._entries() if entry[0] == "asked"]

    @property
    def only(self) -> list[tuple[str, ...]]:
        """The papers that each question was restricted to, in order."""
        return [tuple(entry[3]) for entry in self._entries() if entry[0] == "asked"]

    @property
    def collections(self) -> list[str]:
        """The collections that the questions were asked of, in order."""
        return [entry[4] for entry in self._entries() if entry[0] == "asked"]

    @property
    def used(self) -> list[dict[str, Any]]:
        """Settings that were changed, in order."""
        return [entry[1] for entry in self._entries() if entry[0] == "used"]

    @property
    def closed(self) -> list[str]:
        """Questions whose streams were closed before their end."""
        return [entry[1] for entry in self._entries() if entry[0] == "closed"]

    def _entries(self) -> list[Any]:
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """Of the one assistant that all visitors share, as in life."""
    path = tmp_path_factory.mktemp("page") / "journal.jsonl"
    path.touch()
    return Journal(path)


@pytest.fixture(scope="session")
def address(journal: Journal) -> Iterator[str]:
    """Where the page is served."""
    command = [sys.executable, "-m", "tests.browser.scripted_page", str(journal.path)]
    with served(command) as url:
        yield url


@contextmanager
def served(command: Sequence[str]) -> Iterator[str]:
    """Run a page's process; yield the address that it says, interrupt it at the end."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said: list[str] = []
            for line in process.stdout:
                said.append(line)
                if " is at " in line:
                    yield line.split(" is at ")[1].strip()
                    break
            else:
                pytest.fail(f"no page was served: {said}")
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()  # or its end would be waited for without a limit
                raise


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=find_chromium(), args=list(CHROMIUM_ARGUMENTS)
        )
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[..., Visit]]:
    """Open the page as a new visitor; afterwards nothing foreign may have been asked for."""
    visits: list[Visit] = []

    def open_page(*, dark: bool = False, width: int = 1280, height: int = 860) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        page = context.new_page()
        opened = Visit(page, address)
        visits.append(opened)
        page.on("request", lambda request: _note_foreign(opened, request.url))
        page.on("pageerror", lambda error: opened.errors.append(str(error)))
        page.goto(address)
        page.locator("#question textarea").wait_for()
        return opened

    yield open_page
    for opened in visits:
        opened.page.context.close()
        assert opened.foreign_requests == []
        assert opened.errors == []


def _note_foreign(visit: Visit, url: str) -> None:
    if not url.startswith((visit.address + "/", "data:", "blob:")):
        visit.foreign_requests.append(url)


@dataclass
class Film:
    """Pictures of a page, one after the other, and how long each is looked at."""

    frames: list[bytes] = field(default_factory=list)
    milliseconds: list[int] = field(default_factory=list)

    def take(self, page: Page, *, seconds: float = 1.0) -> None:
        """Add what the page shows now."""
        self.frames.append(page.screenshot())
        self.milliseconds.append(round(1000 * seconds))

    def save(self, path: Path) -> None:
        """Write a picture that moves."""
        from PIL import Image

        pictures = [
            Image.open(io.BytesIO(frame)).convert("RGB").quantize(64, dither=Image.Dither.NONE)
            for frame in self.frames
        ]
        pictures[0].save(
            path,
            save_all=True,
            append_images=pictures[1:],
            duration=self.milliseconds,
            loop=0,
            optimize=True,
        )


@pytest.fixture
def film(tmp_path: Path) -> Iterator[Film]:
    """Kept in the documentation when asked to by KEEP_SCREENSHOTS=1."""
    made = Film()
    yield made
    keep = os.environ.get("KEEP_SCREENSHOTS") == "1"
    path = ROOT / "docs" / "screenshots" / "walk.gif" if keep else tmp_path / "walk.gif"
    made.save(path)
    assert 0 < path.stat().st_size < 3_000_000


@pytest.fixture
def screenshot() -> Callable[[Page, str], None]:
    """Keep a picture of the page in the documentation, when asked to by KEEP_SCREENSHOTS=1."""
    folder = ROOT / "docs" / "screenshots"

    def keep(page: Page, name: str) -> None:
        picture = page.screenshot()
        assert len(picture) < 300_000
        if os.environ.get("KEEP_SCREENSHOTS") == "1":
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.png").write_bytes(picture)

    return keep
