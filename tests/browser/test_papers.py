"""Promises of the papers tab: found at once, read, chosen, edited, removed, added."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Journal, Visit
from tests.fakes import PAPERS

Open = Callable[..., Visit]


@pytest.fixture
def papers(visit: Open) -> Visit:
    opened = visit()
    opened.page.get_by_role("tab", name="Papers").click()
    opened.page.locator(".paper-rows li").first.wait_for()
    return opened


def search(opened: Visit, words: str) -> Any:
    """Type into the search box; returns the rows, of which the first holds the first word."""
    opened.page.get_by_role("searchbox", name="Search papers").fill(words)
    opened.page.locator(".paper-rows li").first.filter(
        has_text=words.split(maxsplit=1)[0]
    ).wait_for()
    return opened.page.locator(".paper-rows li")


def test_papers_are_browsed_searched_and_read(papers: Visit) -> None:
    page = papers.page
    assert "the first 50 shown" in page.locator(".found").inner_text()
    page.get_by_role("button", name="Show more").click()
    page.wait_for_function("document.querySelectorAll('.paper-rows > li').length > 60")
    row = search(papers, "Heron wetland birds in radar").first
    row.get_by_role("button", name="Heron").click()
    row.locator(".abstract math").first.wait_for()
    assert row.locator(".abstract math").count() == 2
    assert row.get_by_role("link", name="Video").get_attribute("href") == PAPERS[3].video_url


def test_papers_are_filtered_by_year_and_code(papers: Visit) -> None:
    page = papers.page
    page.get_by_label("From year").fill("2024")
    page.get_by_label("To year").fill("2024")
    page.get_by_label("with code").check()
    page.locator(".found", has_text="1 paper").wait_for()
    assert page.locator(".open-paper").all_inner_texts() == [PAPERS[0].title]
    page.get_by_label("To year").fill("1990")
    page.locator(".found", has_text="No paper fits.").wait_for()


def test_the_chosen_papers_alone_are_asked(papers: Visit, journal: Journal) -> None:
    page = papers.page
    for words in ("Finch cited passage", "Alder abstention"):
        search(papers, words).first.locator("input").check()
    assert "2 papers chosen" in page.locator(".chosen").inner_text()
    page.get_by_role("button", name="Ask only these").click()
    page.locator(".scope", has_text="Asking 2 papers only").wait_for()
    papers.ask("How fast is it, of two?")
    turn = papers.turn("done", "of two?")
    assert "searched 2 chosen papers" in turn.inner_text()
    assert set(journal.only[-1]) == {PAPERS[1].id, PAPERS[2].id}
    page.get_by_role("button", name="Ask all papers").click()
    assert not page.locator(".scope").is_visible()


def test_a_file_is_previewed_added_edited_and_removed(papers: Visit, tmp_path: Path) -> None:
    page = papers.page
    records = [
        {"title": "<img src=x onerror='window.executed=1'> Dropped", "abstract": "A $x^2$ paper."},
        {"title": "No abstract"},
    ]
    path = tmp_path / "dropped.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    page.locator("#paper-files input[type=file]").set_input_files(path)
    preview = page.locator(".preview")
    preview.get_by_text("1 paper: 1 new").wait_for()
    assert "1 could not be read" in preview.inner_text()
    assert "dropped.jsonl:2" in (preview.locator("details").text_content() or "")
    assert str(path.parent) not in (preview.text_content() or "")
    assert "68 papers" in page.locator("#masthead").inner_text()  # nothing is added yet

    page.get_by_role("button", name="Add these papers").click()
    page.locator(".report", has_text="1 added, 1 could not be read").wait_for()
    page.locator("#masthead", has_text="69 papers").wait_for()

    row = page.locator(".paper-rows li", has_text="Dropped")
    page.get_by_role("searchbox", name="Search papers").fill("Dropped onerror")
    row.get_by_role("button", name="Dropped").click()
    row.get_by_role("button", name="Edit").click()
    form = page.locator(".edit-paper")
    form.get_by_label("Year").fill("20x4")
    form.get_by_role("button", name="Save").click()
    page.locator("#notice", has_text="20x4").wait_for()
    row.get_by_role("button", name="Edit").click()
    form.get_by_label("Year").fill("2024")
    form.get_by_label("Title").fill("Dropped & edited")
    form.get_by_role("button", name="Save").click()
    row.filter(has_text="Dropped & edited").filter(has_text="2024").wait_for()

    row.get_by_role("button", name="Dropped").click()
    row.get_by_role("button", name="Remove").click()
    row.get_by_role("button", name="Really remove?").click()
    page.locator("#masthead", has_text="68 papers").wait_for()
    assert page.evaluate("window.executed") is None


def test_a_file_without_papers_says_what_to_do(papers: Visit, tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    papers.page.locator("#paper-files input[type=file]").set_input_files(path)
    told = papers.page.locator("#paper-shown .error")
    told.wait_for()
    assert "empty.csv" in told.inner_text()
    assert "Try:" in told.inner_text()
    assert not papers.page.get_by_role("button", name="Add these papers").is_visible()
