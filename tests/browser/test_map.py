"""Promises of the map tab: all papers in view, opened and chosen from, the last answer ringed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Journal, Visit

Open = Callable[..., Visit]


@pytest.fixture
def chart(visit: Open) -> Visit:
    opened = visit()
    opened.ask("How fast is it, on the map?")
    opened.turn("done", "on the map?")
    show(opened)
    return opened


def show(opened: Visit) -> None:
    opened.page.get_by_role("tab", name="Map").click()
    opened.page.locator('.map-tab[data-papers="68"]').wait_for()
    opened.page.wait_for_timeout(300)


def drawn(opened: Visit) -> Any:
    """How many pixels of the canvas are painted."""
    return opened.page.evaluate(
        """() => {
          const canvas = document.querySelector("#map canvas");
          const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let painted = 0;
          for (let i = 3; i < data.length; i += 4) painted += data[i] > 0;
          return painted;
        }"""
    )


def test_the_collection_is_a_picture_with_named_regions(chart: Visit) -> None:
    assert drawn(chart) > 3_000
    regions = chart.page.locator(".region")
    sizes = [int(text) for text in regions.locator(".quiet").all_inner_texts()]
    assert sum(sizes) == 68
    assert sizes == sorted(sizes, reverse=True)
    assert "cited by the last answer" in chart.page.locator(".map-answer").inner_text()


def test_a_region_alone_is_asked(chart: Visit, journal: Journal) -> None:
    page = chart.page
    region = page.locator(".region").nth(1)
    size = int(region.locator(".quiet").inner_text())
    region.click()
    assert f"{size} papers chosen" in page.locator(".map-chosen").inner_text()
    page.locator(".map-chosen").get_by_role("button", name="Ask only these").click()
    page.locator(".scope", has_text=f"Asking {size} papers only").wait_for()
    chart.ask("How fast is it, there?")
    chart.turn("done", "there?")
    assert len(journal.only[-1]) == size


def test_a_line_is_drawn_around_papers(chart: Visit) -> None:
    page = chart.page
    box = page.locator("#map canvas").bounding_box()
    assert box is not None
    page.get_by_role("button", name="Draw around papers").click()
    corners = [(0.01, 0.08), (0.99, 0.08), (0.99, 0.99), (0.01, 0.99)]
    points = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()
    assert "68 papers chosen" in page.locator(".map-chosen").inner_text()
    page.locator(".map-chosen").get_by_role("button", name="Clear").click()
    assert not page.locator(".map-chosen").is_visible()


def test_a_point_tells_its_title_and_opens(chart: Visit) -> None:
    page = chart.page
    box = page.locator("#map canvas").bounding_box()
    assert box is not None
    tip = page.locator(".map-tip")
    for step in range(2_000):  # somewhere there is a point
        x, y = (step % 50) * 0.02 * box["width"], 90 + (step // 50) * 14
        page.mouse.move(box["x"] + x, box["y"] + y)
        if page.evaluate("document.querySelector('#map canvas').style.cursor") == "pointer":
            break
    tip.wait_for()
    title = tip.inner_text()
    page.mouse.down()
    page.mouse.up()
    paper = page.locator(".map-paper .paper")
    paper.wait_for()
    assert paper.locator("h3").inner_text() == title
    paper.get_by_role("button", name="Ask this paper").click()
    page.locator(".scope", has_text="Asking 1 paper only").wait_for()


def test_the_map_is_moved_by_keyboard_and_drawn_in_the_dark(visit: Open) -> None:
    opened = visit(dark=True)
    show(opened)
    whole = drawn(opened)
    opened.page.locator("#map canvas").focus()
    for _ in range(6):
        opened.page.keyboard.press("+")
    for _ in range(40):
        opened.page.keyboard.press("ArrowLeft")
    opened.page.wait_for_timeout(200)
    assert drawn(opened) < whole
    opened.page.get_by_role("button", name="Whole map").click()
    opened.page.wait_for_timeout(200)
    assert drawn(opened) == pytest.approx(whole, rel=0.1)
