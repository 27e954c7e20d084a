"""Promises of ``--root-path``: behind a proxy, below a prefix, the page is whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.browser.conftest import Journal, Visit, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PREFIX = "/papers"


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Journal]]:
    """Where the proxy shows the page, and what became of its questions."""
    journal = Journal(tmp_path_factory.mktemp("proxied") / "journal.jsonl")
    journal.path.touch()
    page = [sys.executable, "-m", "tests.browser.scripted_page", str(journal.path), PREFIX]
    with (
        served(page) as inner,
        served([sys.executable, "-m", "tests.browser.proxy", inner, PREFIX]) as outer,
    ):
        yield outer, journal


@pytest.fixture
def visit(browser: Browser, behind: tuple[str, Journal]) -> Iterator[Visit]:
    address, _ = behind
    with browser.new_context(reduced_motion="reduce") as context:
        page = context.new_page()
        opened = Visit(page, address)
        page.on("pageerror", lambda error: opened.errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        asked: list[str] = []
        page.goto(address + "/")
        page.locator("#question textarea").wait_for()
        yield opened
        page.wait_for_timeout(6_000)  # the page looks for its server now and then
        assert not page.locator("#lost").is_visible()
    strangers = [url for url in asked if not url.startswith((address + "/", "data:", "blob:"))]
    assert strangers == []
    assert opened.errors == []


def test_a_question_is_answered_step_by_step_checked_and_linked_to(visit: Visit) -> None:
    page = visit.page
    visit.ask("How fast is it, behind a proxy?")
    page.locator("#current .draft-text").wait_for()  # while it is written
    turn = visit.turn("done", "behind a proxy?")
    chip = turn.locator(".chip").first
    chip.hover()
    assert "5.7 seconds" in page.locator("#tip").inner_text()
    chip.click()
    page.locator("#sources-panel mark.lit").wait_for()
    visit.ask("And how large are they?")
    visit.turn("done", "And how large")

    link = page.url
    assert link.startswith(visit.address + "/?")
    page.goto(link)
    visit.turn("done", "And how large")
    page.locator("#past .chip").first.click()  # its sources come from the server
    page.locator("#sources-panel mark.lit").wait_for()
    page.get_by_role("button", name="History").click()
    page.locator("#history a", has_text="behind a proxy?").click()
    visit.turn("done", "And how large")
    assert page.url.startswith(visit.address + "/?")


def test_stop_and_files_work_through_it(
    visit: Visit, behind: tuple[str, Journal], tmp_path: Path
) -> None:
    page = visit.page
    visit.ask("endless")
    page.locator("#current .draft-text").wait_for()
    page.keyboard.press("Escape")
    visit.turn("stopped", "endless")
    assert behind[1].closed == ["endless"]
    page.get_by_role("tab", name="Papers").click()
    path = tmp_path / "more.jsonl"
    path.write_text('{"title": "Proxied", "abstract": "It came through."}\n', encoding="utf-8")
    page.locator("#paper-files input[type=file]").set_input_files(path)
    page.locator(".preview", has_text="1 paper: 1 new").wait_for()


def test_programs_are_served_through_it(behind: tuple[str, Journal]) -> None:
    address, _ = behind
    assert httpx.get(f"{address}/v1/papers", params={"limit": 1}).json()["total"] == 68
    question = {"model": "abstract-assistant", "messages": [{"role": "user", "content": "fast?"}]}
    answer = httpx.post(f"{address}/v1/chat/completions", json=question).json()
    assert "5.7 seconds" in answer["choices"][0]["message"]["content"]
    assert httpx.get(address.removesuffix(PREFIX)).status_code == 404  # nothing else is shown


def test_an_address_without_the_last_slash_is_the_page_too(
    browser: Browser, behind: tuple[str, Journal]
) -> None:
    address, _ = behind
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        page.locator("#question textarea").wait_for()
        opened = Visit(page, address)
        opened.ask("How fast is it, without a slash?")
        opened.turn("done", "without a slash?")
