"""Promises of the batch tab: previewed, growing, opened, taken along, there after a reload."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.conftest import Visit

Open = Callable[..., Visit]


@pytest.fixture
def batch(visit: Open) -> Visit:
    opened = visit()
    opened.page.get_by_role("tab", name="Batch").click()
    opened.page.locator(".batch-tab .jobs *").first.wait_for()
    return opened


def drop(opened: Visit, path: Path) -> None:
    opened.page.locator("#question-files input[type=file]").set_input_files(path)


def test_a_file_is_previewed_asked_opened_and_taken_along(batch: Visit, tmp_path: Path) -> None:
    page = batch.page
    asked = ["How fast is it?", "What do swans eat?", "What is the number? <b>bold</b>", "broken"]
    path = tmp_path / "asked.jsonl"
    lines = [json.dumps({"question": question}) for question in asked]
    path.write_text("\n".join([*lines, '{"question": ""}']), encoding="utf-8")
    drop(batch, path)
    preview = page.locator("#question-shown .preview")
    preview.get_by_text("5 questions").wait_for()
    assert "1 cannot be asked" in preview.inner_text()
    assert page.locator(".batch-tab tbody tr", has_text="bold").count() == 0

    page.get_by_role("button", name="Ask these questions").click()
    page.locator(".job .progress", has_text="5 of 5, done").wait_for()
    told = page.locator(".job-head").inner_text()
    assert "2 answered · 1 not in the papers · 2 failed" in told
    page.get_by_role("button", name="How fast is it?").click()
    opened = page.locator(".standalone")
    opened.locator(".chip").nth(1).click()
    mark = opened.locator("mark.lit")
    mark.wait_for()
    assert mark.inner_text() == "Numbers are the most frequent error."

    with page.expect_download() as download:
        page.get_by_role("button", name="Save as JSON Lines").click()
    assert download.value.suggested_filename == "asked-answers.jsonl"
    rows = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["status"] for row in rows] == [
        "answered", "abstained", "answered", "error", "error",
    ]  # fmt: skip
    assert page.evaluate("window.executed") is None
    assert page.locator(".batch-tab b").count() == 0

    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Really delete?").click()
    page.locator(".open-job", has_text="asked.jsonl").wait_for(state="detached")


def test_a_batch_goes_on_while_nobody_looks(batch: Visit, tmp_path: Path) -> None:
    page = batch.page
    path = tmp_path / "long.txt"
    path.write_text("How fast is it?\nendless\n", encoding="utf-8")
    drop(batch, path)
    page.get_by_role("button", name="Ask these questions").click()
    page.locator(".batch-tab tbody tr").first.wait_for()
    page.reload()
    page.get_by_role("tab", name="Batch").click()
    page.locator(".job .progress", has_text="1 of 2").wait_for()
    assert page.locator(".batch-tab tbody tr").count() == 1
    page.get_by_role("button", name="Pause").click()
    page.locator(".job .progress", has_text="1 of 2, paused").wait_for()
    assert page.get_by_role("button", name="Go on").is_visible()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Really delete?").click()
    page.locator(".open-job", has_text="long.txt").wait_for(state="detached")


def test_a_file_without_questions_says_what_to_do(batch: Visit, tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    drop(batch, path)
    told = batch.page.locator("#question-shown .error")
    told.wait_for()
    assert "empty.csv" in told.inner_text()
    assert str(tmp_path) not in told.inner_text()
    assert "Try:" in told.inner_text()
