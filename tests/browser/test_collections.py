"""Promises of the collections in the page: seen, switched, made of files, each with its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.conftest import Journal, Visit
from tests.fakes import PAPERS

Open = Callable[..., Visit]
NAME = "birds"


def papers(opened: Visit) -> None:
    opened.page.get_by_role("tab", name="Papers").click()
    opened.page.locator(".paper-rows li").first.wait_for()


def drop(opened: Visit, folder: Path, name: str) -> None:
    """Drop a file of one paper, and name the collection that is made of it."""
    path = folder / "birds.jsonl"
    heron = PAPERS[3]
    record = {"id": "heron", "title": heron.title, "abstract": heron.abstract}
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    opened.page.locator("#paper-files input[type=file]").set_input_files(path)
    opened.page.locator("#paper-shown .preview").wait_for()
    opened.page.get_by_label("Make a new collection of them").fill(name)
    opened.page.get_by_role("button", name="Add these papers").click()


@pytest.fixture(scope="module")
def made(browser: object, address: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a collection that was made by dropping a file."""
    from playwright.sync_api import Browser

    assert isinstance(browser, Browser)
    page = browser.new_page()
    page.goto(address)
    opened = Visit(page, address)
    papers(opened)
    drop(opened, tmp_path_factory.mktemp("dropped"), NAME)
    page.locator("#paper-shown .report", has_text="1 added").wait_for()
    page.get_by_role("link", name="Open it").wait_for()
    page.close()
    return NAME


def enter(opened: Visit, name: str) -> None:
    """Go to a collection by its link in the papers tab."""
    papers(opened)
    opened.page.get_by_role("navigation", name="Collections").get_by_role("link", name=name).click()
    opened.page.locator(f'.masthead[data-collection="{name}"]').wait_for()


def test_a_collection_is_made_of_files_and_used_by_every_tab(
    visit: Open, made: str, journal: Journal
) -> None:
    opened = visit()
    page = opened.page
    enter(opened, made)
    assert "1 paper" in page.locator("#masthead").inner_text()
    assert made in page.locator("#masthead").inner_text()
    assert "the abstracts of 1 paper." in page.locator("#current").inner_text()
    assert not page.locator(".example").first.is_visible()

    opened.ask("How fast is it, among birds?")
    assert "searched 1 paper" in opened.turn("done", "among birds?").inner_text()
    assert journal.collections[-1] == made
    papers(opened)
    assert page.locator(".open-paper").all_inner_texts() == [PAPERS[3].title]
    page.get_by_role("tab", name="Map").click()
    page.locator('.map-tab[data-papers="1"]').wait_for()
    page.get_by_role("tab", name="Settings").click()
    page.locator("#settings dd", has_text="38 of").wait_for()


def test_visitors_of_two_collections_do_not_disturb_each_other(
    visit: Open, made: str, journal: Journal
) -> None:
    mine, yours = visit(), visit()
    enter(mine, made)
    for number, (opened, name) in enumerate(((yours, "seeds"), (mine, made), (yours, "seeds"))):
        opened.ask(f"How fast is it, number-{number}?")
        opened.turn("done", f"number-{number}?")
        assert journal.collections[-1] == name
    assert "68 papers" in yours.page.locator("#masthead").inner_text()


def test_a_conversation_stays_in_its_collection(visit: Open, made: str, journal: Journal) -> None:
    opened = visit()
    page = opened.page
    enter(opened, made)
    opened.ask("How fast is it, and where?")
    opened.turn("done", "and where?")
    link = page.url
    assert f"collection={made}" in link
    # From the other collection's list it leads back into its own.
    page.goto(opened.address)
    page.get_by_role("button", name="History").click()
    row = page.locator("#history li", has_text="and where?")
    assert made in row.inner_text()
    row.get_by_role("link").click()
    page.locator(f'.masthead[data-collection="{made}"]').wait_for()
    opened.turn("done", "and where?")
    opened.ask("And how large are they?")
    opened.turn("done", "And how large")
    assert journal.collections[-1] == made
    # An address that says otherwise does not bring it elsewhere.
    page.goto(link.replace(f"collection={made}", "collection=seeds"))
    page.get_by_role("link", name="Open it there").click()
    opened.turn("done", "And how large")


def test_a_batch_asks_the_collection_that_it_was_begun_in(
    visit: Open, made: str, journal: Journal, tmp_path: Path
) -> None:
    opened = visit()
    page = opened.page
    enter(opened, made)
    page.get_by_role("tab", name="Batch").click()
    path = tmp_path / "of birds.jsonl"
    rows = [{"question": "How fast is it, one?"}, {"question": "How?", "collection": "seeds"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    page.locator("#question-files input[type=file]").set_input_files(path)
    page.get_by_role("button", name="Ask these questions").click()
    page.locator(".job-head", has_text="2 of 2, done").wait_for()
    assert journal.collections[-2:] == [made, "seeds"]
    page.goto(opened.address)
    page.get_by_role("tab", name="Batch").click()
    assert made in page.locator(".open-job", has_text="of birds").inner_text()


def test_what_cannot_be_a_collection_is_explained(visit: Open, made: str, tmp_path: Path) -> None:
    opened = visit()
    papers(opened)
    drop(opened, tmp_path, "My Birds!")
    opened.page.locator("#paper-shown .error", has_text='for example "my-birds"').wait_for()
    # What was dropped is still there.
    opened.page.get_by_label("Make a new collection of them").fill(made)
    opened.page.get_by_role("button", name="Add these papers").click()
    opened.page.locator("#paper-shown .error", has_text="already").wait_for()


def test_a_collection_that_is_not_there_is_said_to_be(visit: Open) -> None:
    opened = visit()
    page = opened.page
    page.goto(f"{opened.address}/?collection=no-birds")
    page.get_by_text('There is no collection "no-birds"').first.wait_for()
    opened.ask("How fast is it?")
    page.locator("#current .error", has_text="no-birds").wait_for()
    page.get_by_role("button", name="New conversation").click()
    page.get_by_role("link", name="Open the collection that the program was started with").click()
    page.locator('.masthead[data-collection="seeds"]').wait_for()
