"""Promises of good manners: accessible, at any width, in long conversations, over a bad line."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from assistant.ui.conversations import Conversations
from tests.assistant.test_page import last_turn
from tests.browser.conftest import Journal, Visit, served
from tests.fakes import answered_story

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Open = Callable[..., Visit]
TABS = ("Chat", "Papers", "Map", "Batch", "Settings")


def show_everything(opened: Visit) -> Iterator[str]:
    """Go through the tabs, each with something in it."""
    page = opened.page
    opened.ask("How fast is it?")
    opened.turn("done", "How fast is it?")
    opened.ask("What do swans eat?")
    opened.turn("done", "What do swans eat?")
    for name in TABS:
        tab = page.get_by_role("tab", name=name)
        if tab.is_visible():
            tab.click()
        else:  # too many for a narrow screen
            page.locator("#tabs .overflow-menu > button").click()
            page.locator("#tabs .overflow-dropdown button", has_text=name).click()
        ready = {
            "Papers": ".paper-rows li",
            "Map": ".map-tab[data-papers]",
            "Batch": ".jobs *",
            "Settings": ".finding",
        }.get(name)
        if ready:
            page.locator(ready).first.wait_for()
        yield name


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_on_any_tab(visit: Open, dark: bool) -> None:
    from axe_playwright_python.sync_playwright import Axe

    opened = visit(dark=dark)
    axe = Axe()
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    found: list[str] = []
    for name in show_everything(opened):
        results = axe.run(opened.page, options=options)
        for violation in results.response["violations"]:
            nodes = violation["nodes"][:3]
            found += [f"{name}: {violation['id']}: {node['html'][:160]}" for node in nodes]
        assert len(results.response["passes"]) > 10  # it has looked
    assert found == []


@pytest.mark.parametrize("width", [320, 360, 1920])
def test_no_tab_sticks_out_sideways(visit: Open, width: int) -> None:
    opened = visit(width=width, height=740)
    for name in show_everything(opened):
        assert opened.page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), name


def test_dialogs_are_accessible_and_closed_by_escape(visit: Open) -> None:
    from axe_playwright_python.sync_playwright import Axe

    opened = visit()
    opened.ask("How fast is it?")
    turn = opened.turn("done", "How fast is it?")
    turn.get_by_role("button", name="No", exact=True).click()
    dialog = opened.page.get_by_role("dialog")
    dialog.get_by_label("Reason").wait_for()
    assert Axe().run(opened.page, context="#why").violations_count == 0
    opened.page.keyboard.press("Escape")
    assert opened.page.get_by_role("dialog").count() == 0
    opened.page.get_by_role("button", name="History").click()
    opened.page.locator("#history li").first.wait_for()
    assert Axe().run(opened.page, context="#history").violations_count == 0


def test_a_conversation_of_two_hundred_turns_stays_smooth(visit: Open, journal: Journal) -> None:
    path = journal.path.parent / "conversations.sqlite3"
    turn = last_turn(answered_story(), "How fast is it?")
    with closing(Conversations(path)) as kept:
        for number in range(1, 201):
            kept.keep("long-conversation", replace(turn, number=number))
    opened = visit()
    page = opened.page
    page.goto(f"{opened.address}/?conversation=long-conversation")
    page.locator("#past .turn").nth(198).wait_for()
    opened.ask("How fast is it, after two hundred?")
    opened.turn("done", "after two hundred?")
    # What a reader feels: the longest time in which the page did not answer to a scroll.
    worst = page.evaluate(
        """async () => {
          const turns = document.querySelector("#turns");
          let worst = 0, last = performance.now();
          for (let step = 0; step < 40; step++) {
            turns.scrollTop = (turns.scrollHeight * step) / 40;
            await new Promise(requestAnimationFrame);
            const now = performance.now();
            worst = Math.max(worst, now - last);
            last = now;
          }
          return worst;
        }"""
    )
    assert page.locator(".turn").count() == 201
    assert worst < 1_500  # a page that lays out all turns at each step takes far longer
    page.locator("#past .chip").first.click()
    page.locator("mark.lit").wait_for()


def test_a_lost_connection_is_told_and_comes_back(visit: Open) -> None:
    opened = visit()
    page = opened.page
    opened.ask("How fast is it, before the loss?")
    opened.turn("done", "before the loss?")
    page.locator("#question textarea").fill("Half a question")
    page.context.set_offline(True)
    page.locator("#lost").wait_for(timeout=30_000)
    assert "start it again" in page.locator("#lost").inner_text()
    page.context.set_offline(False)
    opened.turn("done", "before the loss?")
    page.locator("#lost").wait_for(state="hidden")
    page.wait_for_function(
        "document.querySelector('#question textarea')?.value === 'Half a question'"
    )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page behind logins."""
    path = tmp_path_factory.mktemp("guarded") / "journal.jsonl"
    path.touch()
    users = ["ada:first:secret", "ben:second"]
    with served([sys.executable, "-m", "tests.browser.scripted_page", str(path), *users]) as url:
        yield url


def test_nobody_gets_in_without_a_login(guarded: str) -> None:
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/upload", "/theme.css"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(guarded + path)
        with refused.value:
            assert refused.value.code == 401


def test_everybody_sees_their_own_conversations_alone(guarded: str, browser: Browser) -> None:
    links = []
    for user, password in (("ada", "first:secret"), ("ben", "second")):
        context = browser.new_context(http_credentials={"username": user, "password": password})
        page = context.new_page()
        page.goto(guarded)
        page.locator("#question textarea").fill(f"How fast is {user}?")
        page.keyboard.press("Enter")
        page.locator('#current .turn[data-state="done"]').wait_for()
        page.get_by_role("button", name="History").click()
        page.locator("#history li").first.wait_for()
        assert page.locator("#history li a").all_inner_texts() == [f"How fast is {user}?"]
        links.append(page.url)
        if user == "ben":
            page.goto(links[0])
            page.get_by_text("This conversation is not here.").wait_for()
        context.close()


def test_files_of_this_machine_cannot_be_fetched(address: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/gradio_api/file={secret}")
    with refused.value:
        assert refused.value.code in (403, 404)


def test_screenshots_of_the_tabs(
    visit: Open, screenshot: Callable[..., None], tmp_path: Path
) -> None:
    opened = visit(height=800)
    page = opened.page
    page.get_by_role("tab", name="Papers").click()
    page.locator(".paper-rows li").first.wait_for()
    page.get_by_role("button", name="Heron").click()
    page.locator(".paper-rows input").nth(1).check()
    page.locator(".paper-rows .detail .abstract").wait_for()
    screenshot(page, "papers")

    path = tmp_path / "questions.csv"
    asked = ["How fast is it?", "What do swans eat?", "And how large are they?", "broken"]
    path.write_text("question\n" + "\n".join(asked) + "\n", encoding="utf-8")
    page.get_by_role("tab", name="Batch").click()
    page.locator("#question-files input[type=file]").set_input_files(path)
    page.get_by_role("button", name="Ask these questions").click()
    page.locator(".job .progress", has_text="4 of 4, done").wait_for()
    page.get_by_role("button", name="And how large").click()
    page.locator(".standalone").wait_for()
    screenshot(page, "batch")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Really delete?").click()
    page.locator(".open-job", has_text="questions.csv").wait_for(state="detached")


def test_on_a_phone_nothing_covers_another_and_an_answer_of_a_batch_opens(
    visit: Open, tmp_path: Path
) -> None:
    opened = visit(width=360, height=740)
    page = opened.page
    page.get_by_role("tab", name="Papers").click()
    page.locator(".paper-rows li").nth(40).wait_for(state="attached")
    shown = page.locator("#papers").bounding_box()
    beside = page.locator("#papers-columns .aside").bounding_box()
    assert shown is not None
    assert beside is not None
    assert shown["y"] + shown["height"] <= beside["y"] + 1
    rows = page.locator(".paper-rows").bounding_box()
    assert rows is not None
    assert rows["y"] + rows["height"] <= beside["y"] + 1

    path = tmp_path / "phone.txt"
    path.write_text("How fast is it, on a phone?\n", encoding="utf-8")
    page.get_by_role("tab", name="Batch").click()
    page.locator("#question-files input[type=file]").set_input_files(path)
    page.get_by_role("button", name="Ask these questions").click()
    page.locator(".job .progress", has_text="1 of 1, done").wait_for()
    page.get_by_role("button", name="on a phone?").click()
    assert "5.7 seconds" in page.locator(".opened .answer").inner_text()


def test_the_list_of_papers_scrolls_beside_the_place_for_files(visit: Open) -> None:
    page = visit().page
    page.get_by_role("tab", name="Papers").click()
    page.locator(".paper-rows li").nth(40).scroll_into_view_if_needed()
    page.locator("#paper-files").wait_for()
    box = page.locator("#paper-files").bounding_box()
    assert box is not None
    assert 0 < box["y"] < 860
