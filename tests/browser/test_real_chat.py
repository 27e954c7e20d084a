"""The chat page over the real model, the real index and the bundled seeds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from assistant.settings import APP
from tests.browser.conftest import ROOT, Film, Visit, served
from tests.browser.test_chat import WATCH

PATIENCE_MILLISECONDS = 300_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page over the real assistant instead of the scripted one."""
    folder = tmp_path_factory.mktemp("real")
    index = folder / ".local" / "share" / APP / "index"
    command = [sys.executable, "-m", "assistant", "ingest", "--index", str(index)]
    subprocess.run([*command, "seeds/huggingface_papers.txt"], cwd=ROOT, check=True)
    page = [sys.executable, "-m", "tests.browser.real_page", str(folder), str(folder / "states")]
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


def test_a_walk_through_the_page(
    visit: Callable[..., Visit], film: Film, screenshot: Callable[..., None]
) -> None:
    """What a newcomer does first, on the real page; kept as a picture that moves."""
    opened = visit(width=1100, height=690)
    page = opened.page
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    film.take(page, seconds=1.5)
    question = "How many datasets does BenchX include?"
    page.locator("#question textarea").press_sequentially(question[:20])
    film.take(page)
    page.locator("#question textarea").fill(question)
    page.keyboard.press("Enter")
    page.locator("#sources-now .paper").first.wait_for()
    film.take(page)
    turn = opened.turn("done", question)
    film.take(page, seconds=2)
    chip = turn.locator(".chip").first
    chip.hover()
    film.take(page, seconds=2)
    chip.click()
    page.locator("mark.lit").first.wait_for()
    page.wait_for_timeout(400)
    film.take(page, seconds=2.5)

    opened.ask("Who won the world cup?")
    opened.turn("done", "Who won the world cup?")
    film.take(page, seconds=2.5)

    page.get_by_role("tab", name="Papers").click()
    search = page.get_by_role("searchbox", name="Search papers")
    search.fill("forgetting unsafe concepts")
    page.locator(".found", has_text="closest").wait_for()
    for box in page.locator(".paper-rows input").all()[:3]:
        box.check()
    film.take(page, seconds=2)

    page.get_by_role("tab", name="Map").click()
    page.locator('.map-tab[data-papers="68"]').wait_for()
    page.wait_for_timeout(400)
    screenshot(page, "map")
    film.take(page, seconds=2)
    page.locator(".region", has_text="unlearning").first.click()
    page.wait_for_timeout(200)
    film.take(page, seconds=1.5)
    page.locator(".map-chosen").get_by_role("button", name="Ask only these").click()
    opened.ask("What is unlearned besides concepts?")
    opened.turn("done", "What is unlearned besides concepts?")
    film.take(page, seconds=2.5)
    assert "chosen papers" in page.locator("#current .stages").inner_text()

    page.get_by_role("tab", name="Settings").click()
    page.locator(".finding").first.wait_for()
    assert page.locator(".finding:is(.problem, .warning)").count() == 0
    page.set_viewport_size({"width": 1280, "height": 800})
    screenshot(page, "settings")
