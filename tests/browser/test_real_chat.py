"""The chat page over the real model, the real index and the bundled seeds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.browser.conftest import ROOT, Visit, served
from tests.browser.test_chat import WATCH

PATIENCE_MILLISECONDS = 300_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page over the real assistant instead of the scripted one."""
    folder = tmp_path_factory.mktemp("real")
    index = folder / "index"
    command = [sys.executable, "-m", "assistant", "ingest", "--index", str(index)]
    subprocess.run([*command, "seeds/huggingface_papers.txt"], cwd=ROOT, check=True)
    page = [sys.executable, "-m", "tests.browser.real_page", str(index), str(folder / "states")]
    with served(page) as url:
        yield url


def test_a_question_is_answered_and_a_stopped_one_frees_the_model(
    visit: Callable[..., Visit], screenshot: Callable[..., None]
) -> None:
    opened = visit()
    page = opened.page
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    assert "68 papers" in page.locator("#masthead").inner_text()

    opened.ask("Which papers are about unlearning in diffusion models?")
    opened.turn("running", "unlearning")
    page.locator("#sources-now .paper").first.wait_for()
    page.locator("#stop").click()
    stopped = opened.turn("stopped", "unlearning")
    assert stopped.locator(".sentence, .draft").count() == 0

    page.get_by_role("button", name="New conversation").click()
    page.locator(".welcome").wait_for()
    question = "How many datasets does BenchX include, and what did it reveal about older methods?"
    page.evaluate(WATCH)
    opened.ask(question)
    turn = opened.turn("done", question)
    drafted = [moment for moment in page.evaluate("window.seen") if moment["draft"]]
    assert drafted
    assert all(moment["papers"] for moment in drafted)
    assert "nine" in turn.locator(".sentence").first.inner_text()
    turn.locator(".sentence .chip").first.click()
    mark = page.locator("#sources-now mark.lit").first
    assert "nine datasets" in mark.inner_text()
    assert "BenchX" in page.locator("#sources-now .paper.cited h3").first.inner_text()
    assert page.locator("#sources-now .paper.cited a").first.get_attribute("href")
    screenshot(page, "answer")
