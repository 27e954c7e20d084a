"""Promises about answers after they are given: kept, found again, taken along, judged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.conftest import Journal, Visit
from tests.fakes import HOSTILE, PAPERS

Open = Callable[..., Visit]


def saved(opened: Visit, menu: Any, form: str) -> tuple[str, str]:
    """Name and content of what is downloaded from a menu of formats."""
    menu.locator("summary").click()
    with opened.page.expect_download() as download:
        menu.get_by_role("button", name=form, exact=True).click()
    content = Path(download.value.path()).read_text(encoding="utf-8")
    return download.value.suggested_filename, content


def test_a_conversation_has_a_link_that_leads_back_to_it(visit: Open, journal: Journal) -> None:
    opened = visit()
    opened.ask("How fast is it, to be kept?")
    opened.turn("done", "to be kept?")
    opened.ask("And how large are they, kept?")
    opened.turn("done", "large are they, kept?")
    link = opened.page.url
    assert re.search(r"\?conversation=[\w-]{16}&collection=seeds$", link)

    again = visit()
    again.page.goto(link)
    again.turn("done", "large are they, kept?")
    assert again.page.locator("#past .turn").count() == 1
    # Its sources, and those of its earlier answer, are there as on the day.
    again.page.locator("#current .chip").click()
    again.page.locator("mark.lit", has_text="States take 9 MB per page").wait_for()
    again.page.locator("#past .chip").nth(1).click()
    again.page.locator("mark.lit", has_text="Numbers are the most frequent error.").wait_for()
    # And it goes on.
    again.ask("How fast is it, after all?")
    again.turn("done", "after all?")
    assert journal.asked[-1][1] == ("How fast is it, to be kept?", "And how large are they, kept?")
    again.page.get_by_role("button", name="New conversation").click()
    again.page.locator(".welcome").wait_for()
    assert "conversation=" not in again.page.url


def test_the_history_is_searched_renamed_and_deleted(visit: Open) -> None:
    opened = visit()
    page = opened.page
    for question in ("How fast is a kestrel?", "What do swans eat, a kestrel asks?"):
        opened.ask(question)
        opened.turn("done", question)
        page.get_by_role("button", name="New conversation").click()
        page.locator(".welcome").wait_for()
    page.get_by_role("button", name="History").click()
    listed = page.locator("#history li")
    search = page.get_by_role("searchbox", name="Search questions and answers")
    search.fill("kestrel")
    page.wait_for_function("document.querySelectorAll('#history li').length === 2")
    search.fill("kestrel swans")
    page.wait_for_function("document.querySelectorAll('#history li').length === 1")
    assert "What do swans eat" in listed.inner_text()

    listed.get_by_role("button", name="Rename").click()
    page.keyboard.type("Birds & <b>food</b>")
    page.keyboard.press("Enter")
    listed.get_by_role("link", name="Birds & <b>food</b>").wait_for()
    listed.get_by_role("link").click()
    opened.turn("done", "What do swans eat")

    page.get_by_role("button", name="History").click()
    search.fill("kestrel swans")
    page.wait_for_function("document.querySelectorAll('#history li').length === 1")
    listed.get_by_role("button", name="Delete").click()
    assert listed.count() == 1  # asked twice
    listed.get_by_role("button", name="Really delete?").click()
    page.locator("#history", has_text="Nothing found.").wait_for()
    page.keyboard.press("Escape")
    page.locator(".welcome").wait_for()  # it was the one shown


def test_a_link_to_a_conversation_that_is_gone_says_so(visit: Open) -> None:
    opened = visit()
    opened.page.goto(f"{opened.address}/?conversation=never-was")
    opened.page.get_by_text("This conversation is not here.").wait_for()
    opened.ask("How fast is it, then?")
    opened.turn("done", "then?")


def test_an_answer_is_taken_along_in_every_format(visit: Open) -> None:
    opened = visit()
    opened.ask("How fast is it?")
    turn = opened.turn("done", "How fast is it?")
    menu = turn.locator(".menu")
    name, told = saved(opened, menu, "Markdown")
    assert name == "How fast is it.md"
    assert PAPERS[0].title in told
    name, told = saved(opened, menu, "CSL-JSON (Zotero)")
    assert [item["title"] for item in json.loads(told)] == [p.title for p in PAPERS[:2]]
    for form, needed in (("LaTeX with BibTeX", "\\cite{"), ("BibTeX", "{larch,")):
        assert needed in saved(opened, menu, form)[1]
    _, markup = saved(opened, menu, "HTML")
    opened.page.set_content(markup)
    assert opened.page.get_by_role("heading", name="References").is_visible()


def test_a_conversation_is_taken_along_and_nothing_hostile_runs(visit: Open) -> None:
    opened = visit()
    opened.ask("What is the number?")
    opened.turn("done", "What is the number?")
    opened.ask("How fast is it, in the file?")
    opened.turn("done", "in the file?")
    _, markup = saved(opened, opened.page.locator("#bar .menu"), "HTML")
    opened.page.set_content(markup)
    shown = opened.page.locator("body").inner_text()
    assert "What is the number?" in shown
    assert "in the file?" in shown
    assert HOSTILE.title in shown
    assert opened.page.evaluate("window.executed") is None


def test_a_judgement_becomes_a_row_of_an_evaluation(visit: Open) -> None:
    opened = visit()
    page = opened.page
    opened.ask("What do swans eat in winter?")
    turn = opened.turn("done", "in winter?")
    turn.get_by_role("button", name="Yes").click()
    assert turn.get_by_role("button", name="Yes").get_attribute("aria-pressed") == "true"
    turn.get_by_role("button", name="No", exact=True).click()
    form = page.locator("#why")
    form.get_by_label("Reason").select_option("The papers do answer this")
    form.get_by_label("In your words").fill("Look at the radar.")
    form.locator("summary").click()
    form.get_by_label("The paper that answers it").select_option(PAPERS[3].title)
    form.get_by_label("Words that a right answer holds").fill("weather radar")
    with page.expect_download() as download:
        form.get_by_role("button", name="save as an evaluation row").click()
    row = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert row["question"] == "What do swans eat in winter?"
    assert (row["kind"], row["papers"]) == ("single", [PAPERS[3].title])
    assert row["facts"] == [["weather radar"]]
    assert row["complaint"] == "The papers do answer this Look at the radar."
    assert turn.get_by_role("button", name="Yes").get_attribute("aria-pressed") == "false"
    opened.ask("How fast is it, in summer?")
    opened.turn("done", "in summer?")
    past = page.locator("#past .turn").get_by_role("button", name="No", exact=True)
    assert past.get_attribute("aria-pressed") == "true"
    page.reload()
    again = page.locator("#past .turn", has_text="in winter?").get_by_role(
        "button", name="No", exact=True
    )
    again.wait_for()
    assert again.get_attribute("aria-pressed") == "true"


def test_a_question_is_asked_again_and_of_the_other_papers(visit: Open, journal: Journal) -> None:
    opened = visit()
    opened.ask("How fast is it, once more?")
    turn = opened.turn("done", "once more?")
    turn.get_by_role("button", name="Ask again", exact=True).click()
    opened.page.locator('#current .turn[data-turn="2"][data-state="done"]').wait_for()
    assert journal.asked[-1] == ("How fast is it, once more?", ())
    assert not journal.only[-1]
    opened.page.locator("#current").get_by_role("button", name="Ask the other papers").click()
    opened.page.locator('#current .turn[data-turn="3"][data-state="done"]').wait_for()
    assert journal.only[-1] == (PAPERS[2].id, PAPERS[3].id)
    assert "searched 2 chosen papers" in opened.page.locator("#current .stages").inner_text()
    # For this question alone.
    opened.page.locator(".scope").wait_for(state="hidden")
    opened.ask("How fast is it, at last?")
    opened.turn("done", "at last?")
    assert not journal.only[-1]


def test_an_abstention_offers_questions_that_can_be_answered(visit: Open, journal: Journal) -> None:
    opened = visit()
    opened.ask("What do swans eat?")
    turn = opened.turn("done", "What do swans eat?")
    turn.locator(".ask-this").first.click()
    opened.page.locator('#current .turn[data-turn="2"]').wait_for()
    assert PAPERS[3].title in journal.asked[-1][0]


def test_a_chip_shows_its_quotation_in_its_sentence(visit: Open) -> None:
    opened = visit()
    opened.ask("How fast is it?")
    opened.turn("done", "How fast is it?").locator(".chip").first.hover()
    tip = opened.page.locator("#tip")
    assert "instead of 38, with the same tokens in 99.4% of 1,200 answers." in tip.inner_text()
    assert tip.locator("mark").inner_text() == (
        "On a laptop with two cores, Larch answers in 5.7 seconds instead of 38"
    )


def test_formulas_are_typeset(visit: Open) -> None:
    opened = visit()
    opened.ask("What do swans eat?")
    opened.turn("done", "What do swans eat?")
    formula = opened.page.locator("#sources-now math").first
    assert formula.get_attribute("alttext") == "F_1"
    box = formula.bounding_box()
    assert box is not None
    assert box["width"] > 5
