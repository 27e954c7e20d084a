"""Promises of the settings tab: what runs, whether it is in order, and that it can be changed."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.conftest import Journal, Visit

Open = Callable[..., Visit]


def test_settings_and_health_are_told_and_changed(visit: Open, journal: Journal) -> None:
    opened = visit()
    page = opened.page
    page.get_by_role("tab", name="Settings").click()
    shown = page.locator("#settings")
    shown.get_by_text("in use").wait_for()
    told = shown.inner_text()
    for fact in (
        "qwen2.5-coder-1.5b",
        "1.1 GB",
        "Apache-2.0",
        "38 of 68 papers",
        "Hosts contacted",
    ):
        assert fact in told
    assert "Fetch 491 MB" in told or "qwen2.5-coder-0.5b" in told
    shown.locator(".finding", has_text="gpu").first.wait_for()
    assert not shown.get_by_text("max_papers").is_visible()  # advanced things are folded
    shown.get_by_text("All settings").click()
    assert shown.get_by_text("max_papers").is_visible()

    shown.get_by_label("Threads").fill("1")
    shown.get_by_label("Layers on a GPU").fill("auto")
    shown.get_by_role("button", name="Apply").click()
    for _ in range(100):
        if journal.used:
            break
        page.wait_for_timeout(50)
    assert journal.used == [{"threads": 1, "gpu_layers": "auto"}]
