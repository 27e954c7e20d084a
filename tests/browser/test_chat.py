"""Promises of the chat page to the person in front of it, kept in a real browser."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from tests.browser.conftest import Journal, Visit
from tests.browser.scripted_page import EXAMPLES
from tests.fakes import HOSTILE, PAPERS

Open = Callable[..., Visit]
PATIENCE_SECONDS = 30.0

WATCH = """() => {
  window.seen = [];
  const look = () => {
    const turn = document.querySelector("#current .turn");
    const draft = turn?.querySelector(".draft-text")?.textContent ?? "";
    const papers = document.querySelectorAll("#sources-now .paper").length;
    const sentences = turn?.querySelectorAll(".sentence").length ?? 0;
    const stage = turn?.querySelector(".stages .now")?.textContent ?? "";
    window.seen.push({draft, papers, sentences, stage});
  };
  new MutationObserver(look).observe(document.body,
    {childList: true, subtree: true, characterData: true});
}"""
"""Keeps what the page showed at every change."""

CONTRAST = """(selectors) => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = (color, under) => {
    canvas.fillStyle = `rgb(${under.join(",")})`;
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const ground = (element) => {
    const under = element.parentElement ? ground(element.parentElement) : [255, 255, 255];
    return rgb(getComputedStyle(element).backgroundColor, under);
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratios = {};
  for (const selector of selectors)
    for (const element of document.querySelectorAll(selector)) {
      if (!element.checkVisibility({opacityProperty: true})) continue;
      const back = ground(element);
      const front = rgb(getComputedStyle(element).color, back);
      const [dark, light] = [luminance(front), luminance(back)].sort((a, b) => a - b);
      const ratio = (light + 0.05) / (dark + 0.05);
      ratios[selector] = Math.min(ratios[selector] ?? 99, ratio);
    }
  return ratios;
}"""
"""Lowest contrast of text to its ground, by selector (WCAG 2.2, 1.4.3)."""


def test_the_first_page_says_what_it_is(visit: Open) -> None:
    page = visit().page
    shown = page.locator("body").inner_text()
    for promise in ("Abstract Assistant", "68 papers", "Everything stays on this machine"):
        assert promise in shown
    assert page.title() == "Abstract Assistant"
    assert page.get_by_role("textbox", name="Your question").is_visible()
    assert page.get_by_role("button", name="Ask", exact=True).is_visible()
    assert not page.locator("#stop").is_visible()


def test_an_answer_streams_as_a_draft_and_settles_into_cited_sentences(visit: Open) -> None:
    opened = visit()
    opened.page.evaluate(WATCH)
    opened.ask("How fast is it, really?")
    turn = opened.turn("done", "How fast is it, really?")

    seen = opened.page.evaluate("window.seen")
    drafts = [moment["draft"] for moment in seen if moment["draft"]]
    assert len(set(drafts)) > 3
    first = [draft for draft in drafts if draft.startswith("On a laptop")]
    assert first == sorted(first, key=len)
    assert all(moment["papers"] for moment in seen if moment["draft"] or moment["sentences"])
    stages = {moment["stage"].split(" ")[0].rstrip(",") for moment in seen}
    # Shorter stages may pass between two updates; that they were is told at the end.
    assert "writing" in stages

    assert turn.locator(".draft").count() == 0
    assert turn.locator(".sentence .chip").all_inner_texts() == ["1", "2"]
    assert turn.locator(".badge").all_inner_texts() == ["verified", "quoted"]
    told = turn.locator(".stages").inner_text()
    for stage in ("searched 68 papers, 0.1 s", "read 2, ", "compared 4, ", "answered in "):
        assert stage in told
    assert opened.page.locator("#sources-now mark").all_inner_texts() == [
        "On a laptop with two cores, Larch answers in 5.7 seconds instead of 38",
        "Numbers are the most frequent error.",
    ]


def test_how_many_papers_were_read_ahead_is_told(visit: Open) -> None:
    told = visit().page.locator("#ahead .ahead")
    told.wait_for()
    assert told.inner_text() == "38 of 68 papers read"


def test_a_chip_shows_its_quotation_and_leads_to_its_mark(visit: Open) -> None:
    opened = visit(height=500)
    opened.ask("How fast is it?")
    turn = opened.turn("done", "How fast is it?")
    chip = turn.locator(".chip").nth(1)
    mark = opened.page.locator("#sources-now mark").nth(1)

    chip.focus()
    tip = opened.page.locator("#tip")
    assert "Numbers are the most frequent error." in tip.inner_text()
    assert PAPERS[1].title in tip.inner_text()
    assert "Numbers are the most frequent error." in (chip.get_attribute("aria-label") or "")

    chip.click()
    opened.page.locator("mark.lit").wait_for()
    assert "lit" in (mark.get_attribute("class") or "").split()
    assert opened.page.locator("mark.lit").count() == 1
    box = mark.bounding_box()
    assert box is not None
    assert 0 <= box["y"] <= 500 - box["height"]
    head = opened.page.locator("#masthead").bounding_box()
    assert head is not None
    assert head["y"] == 0  # the panel has scrolled, not the page


def test_the_sources_of_an_earlier_answer_come_back(visit: Open) -> None:
    opened = visit()
    opened.ask("How fast is it?")
    opened.turn("done", "How fast is it?")
    opened.ask("And how large are they?")
    later = opened.turn("done", "And how large are they?")
    assert "How large are the states that Larch keeps?" in later.inner_text()

    opened.page.locator("#past .chip").nth(1).click()
    lit = opened.page.locator("mark.lit")
    assert lit.inner_text() == "Numbers are the most frequent error."
    assert lit.is_visible()
    assert not opened.page.locator("#sources-now .sources").is_visible()
    later.locator(".chip").click()
    opened.page.locator("mark.lit", has_text="States take 9 MB per page").wait_for()


@pytest.mark.parametrize("way", ["button", "escape"])
def test_stop_stops_the_model(visit: Open, journal: Journal, way: str) -> None:
    opened = visit()
    question = f"endless, stopped by {way}"
    opened.ask(question)
    opened.turn("running", question).locator(".draft").wait_for()
    if way == "button":
        opened.page.locator("#stop").click()
    else:
        opened.page.keyboard.press("Escape")
    turn = opened.turn("stopped", question)
    assert "stopped after" in turn.inner_text()
    assert turn.locator(".draft").count() == 0
    opened.page.locator("#ask").wait_for()
    wait_for_closed(opened, journal, question)


def test_leaving_the_page_stops_the_model(visit: Open, journal: Journal) -> None:
    opened = visit()
    opened.ask("endless, and left alone")
    opened.turn("running", "endless").locator(".draft").wait_for()
    opened.page.goto("about:blank")
    opened.foreign_requests.clear()
    wait_for_closed(opened, journal, "endless, and left alone")


def wait_for_closed(opened: Visit, journal: Journal, question: str) -> None:
    for _ in range(int(PATIENCE_SECONDS * 10)):
        if question in journal.closed:
            return
        opened.page.wait_for_timeout(100)
    pytest.fail("the stream was never closed")


def test_a_new_conversation_starts_empty_even_in_the_middle(visit: Open, journal: Journal) -> None:
    opened = visit()
    opened.ask("endless, then afresh")
    opened.turn("running", "endless").locator(".draft").wait_for()
    opened.page.get_by_role("button", name="New conversation").click()
    opened.page.locator(".welcome").wait_for()
    wait_for_closed(opened, journal, "endless, then afresh")
    assert opened.page.locator(".turn").count() == 0
    opened.ask("How fast, afresh?")
    opened.turn("done", "How fast, afresh?")
    assert journal.asked[-1] == ("How fast, afresh?", ())


def test_a_hostile_record_is_text(visit: Open) -> None:
    opened = visit()
    opened.ask("What is the number? <img src=x onerror=window.executed=1>")
    opened.turn("done", "What is the number?")
    page = opened.page
    for chip in page.locator(".turn .chip").all():
        chip.hover()
        chip.click()
    assert page.evaluate("window.executed") is None
    sources = page.locator("#sources-now").inner_text()
    assert HOSTILE.title in sources
    assert "${window.executed=1} {{value}}" in sources
    assert page.locator("#columns img, #columns script, #columns svg, #columns style").count() == 0
    links = page.locator("#sources-now a").all()
    assert links
    for link in links:
        assert (link.get_attribute("href") or "").startswith("https://example.org/")


def test_an_abstention_offers_the_closest_papers(visit: Open) -> None:
    opened = visit()
    opened.ask("What do swans eat?")
    turn = opened.turn("done", "What do swans eat?")
    assert "No paper that was read holds it." in turn.inner_text()
    assert turn.locator(".error").count() == 0
    turn.get_by_role("button", name=PAPERS[2].title, exact=True).click()
    assert PAPERS[2].title in opened.page.locator("#sources-now .paper.lit").inner_text()
    paper = opened.page.locator("#sources-now .paper").first
    short = paper.locator(".abstract").bounding_box()
    paper.get_by_role("button", name="Abstract").click()
    whole = paper.locator(".abstract").bounding_box()
    assert short is not None
    assert whole is not None
    assert whole["height"] >= short["height"]
    assert paper.get_by_role("button", name="Less").get_attribute("aria-expanded") == "true"


def test_an_error_says_what_to_do_and_the_next_question_works(visit: Open) -> None:
    opened = visit()
    opened.ask("broken")
    turn = opened.turn("failed", "broken")
    assert "The model qwen2.5 is not on this machine." in turn.inner_text()
    assert "assistant models pull qwen2.5" in turn.inner_text()
    opened.ask("crash")
    assert "secret" not in opened.turn("failed", "crash").inner_text()
    opened.ask("How fast is it?")
    opened.turn("done", "How fast is it?")


def test_an_example_is_asked_with_one_click(visit: Open) -> None:
    opened = visit()
    opened.page.get_by_role("button", name=EXAMPLES[0]).click()
    opened.turn("done", EXAMPLES[0])
    assert not opened.page.locator("#examples").is_visible()


def test_the_keyboard_is_enough(visit: Open, journal: Journal) -> None:
    opened = visit()
    page = opened.page
    page.locator("body").click(position={"x": 5, "y": 5})
    page.keyboard.press("/")
    page.keyboard.type("How fast")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("is it, by keyboard?")
    assert page.locator("#question textarea").input_value() == "How fast\nis it, by keyboard?"
    page.keyboard.press("Enter")
    opened.turn("done", "by keyboard?")
    assert journal.asked[-1][0] == "How fast\nis it, by keyboard?"
    assert page.locator("#question textarea").input_value() == ""

    page.evaluate("document.activeElement.blur()")
    focused = "document.activeElement.textContent"
    page.keyboard.press("j")
    assert page.evaluate(focused) == "1"
    page.keyboard.press("j")
    assert page.evaluate(focused) == "2"
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.locator("mark.lit").wait_for()


def test_a_question_can_be_edited_and_asked_again(visit: Open) -> None:
    opened = visit()
    opened.ask("How fast is it?")
    turn = opened.turn("done", "How fast is it?")
    turn.get_by_role("button", name="Edit").click()
    box = opened.page.locator("#question textarea")
    assert box.input_value() == "How fast is it?"
    opened.page.keyboard.type(" Say it again.")
    opened.page.keyboard.press("Enter")
    opened.turn("done", "Say it again.")


def test_an_empty_question_does_nothing(visit: Open, journal: Journal) -> None:
    opened = visit()
    asked = len(journal.asked)
    opened.ask("   ")
    opened.page.locator("#ask").click()
    opened.ask("How fast is it, after nothing?")
    opened.turn("done", "after nothing?")
    assert len(journal.asked) == asked + 1
    assert opened.page.locator(".turn").count() == 1


def test_two_visitors_are_served_side_by_side(visit: Open) -> None:
    one, other = visit(), visit()
    one.ask("endless, of one")
    one.turn("running", "endless, of one")
    other.ask("What do swans eat?")
    other.turn("done", "What do swans eat?")
    assert "endless" not in other.page.locator("#turns").inner_text()
    one.page.locator("#stop").click()
    one.turn("stopped", "endless, of one")


def test_what_stands_above_does_not_move_while_an_answer_grows(visit: Open) -> None:
    opened = visit()
    opened.ask("How fast is it?")
    opened.turn("done", "How fast is it?")
    opened.ask("And how large are they?")
    question = opened.page.locator("#current .question h2", has_text="how large")
    question.wait_for()
    opened.page.locator("#sources-now .paper").first.wait_for()
    opened.page.wait_for_timeout(100)
    before = question.bounding_box()
    opened.turn("done", "And how large are they?")
    after = question.bounding_box()
    assert before is not None
    assert after is not None
    # A rewritten question adds a line below, never above.
    assert after["y"] == pytest.approx(before["y"], abs=1)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(visit: Open, dark: bool) -> None:
    opened = visit(dark=dark)
    asked = [
        ("How fast is it?", "done"),
        ("And how large are they?", "done"),
        ("broken", "failed"),
        ("What do swans eat?", "done"),
    ]
    for question, state in asked:
        opened.ask(question)
        opened.turn(state, question)
    opened.page.locator("#past .chip").first.click()
    opened.page.locator("mark.lit").wait_for()
    selectors = [
        ".masthead h1", ".masthead p", ".question h2", ".stages li", ".sentence", ".badge",
        ".chip", ".understood", ".link", ".links a", ".abstention p", ".error h3", ".error p",
        ".hint code", ".paper h3", ".byline", ".abstract", "mark", ".mark-number", ".keys",
        ".keys kbd", ".ahead", "#ask", "#fresh", ".sources h2", ".of", "summary",
    ]  # fmt: skip
    ratios = opened.page.evaluate(CONTRAST, selectors)
    assert {"mark", ".chip", ".error h3", ".abstract"} <= set(ratios)
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("width", [320, 360, 799, 800, 1920])
def test_nothing_sticks_out_sideways(visit: Open, width: int) -> None:
    opened = visit(width=width, height=740)
    opened.ask("What is the number?")
    opened.turn("done", "What is the number?")
    assert opened.page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    assert opened.page.locator("#question textarea").is_visible()
    box = opened.page.locator("#ask").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= width
    assert box["y"] + box["height"] <= 740


def test_on_a_phone_a_chip_leads_down_and_a_link_back_up(visit: Open) -> None:
    opened = visit(width=360, height=740)
    opened.ask("How fast is it?")
    turn = opened.turn("done", "How fast is it?")
    turn.locator(".chip").nth(1).click()
    opened.page.locator("mark.lit").wait_for()
    assert in_view(opened, "mark.lit")
    assert not in_view(opened, "#current .question")
    opened.page.get_by_role("button", name="Back to the answer").click()
    assert in_view(opened, "#current .question")


def in_view(opened: Visit, selector: str) -> bool:
    box = opened.page.locator(selector).bounding_box()
    dock = opened.page.locator("#dock").bounding_box()
    assert box is not None
    assert dock is not None
    return box["y"] >= 0 and box["y"] + box["height"] <= dock["y"]


def test_the_page_is_closed_to_other_hosts(address: str) -> None:
    with urllib.request.urlopen(address) as answer:
        policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http:" not in policy
    stranger = urllib.request.Request(address, headers={"Host": "attacker.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(stranger)
    with refused.value:
        assert refused.value.code == 400


def test_there_is_no_public_api(address: str) -> None:
    with urllib.request.urlopen(f"{address}/gradio_api/info") as answer:
        described = answer.read().decode()
    assert '"/ask' not in described
    assert '"named_endpoints":{}' in described.replace(" ", "")


def test_screenshots(visit: Open, screenshot: Callable[..., None]) -> None:
    for name, dark, width, height in (
        ("light", False, 1280, 800),
        ("dark", True, 1280, 800),
        ("phone", False, 360, 740),
    ):
        opened = visit(dark=dark, width=width, height=height)
        opened.ask("How fast is Larch on a laptop, and what do citations get wrong?")
        turn = opened.turn("done", "How fast is Larch")
        if name != "phone":
            turn.locator(".chip").first.click()
        screenshot(opened.page, name)
    opened = visit(height=800)
    opened.ask("What do swans eat?")
    opened.turn("done", "What do swans eat?")
    screenshot(opened.page, "abstention")
