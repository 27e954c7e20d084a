"""Promises of the settings tab: what runs, whether it is in order, and that it can be changed."""

from __future__ import annotations

import hashlib
import http.server
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from assistant.settings import APP
from tests.browser.conftest import Journal, Visit, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Open = Callable[..., Visit]
CONTENT = random.Random(5).randbytes(1_200_000)
CHUNK_BYTES = 50_000
METADATA = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
CATALOGUE = """
[[models]]
name = "tiny"
role = "language"
summary = "for tests"
licence = "CC0-1.0"
chat_format = "chatml"
context_tokens = 64
memory_bytes = 1
[[models.files]]
name = "tiny.gguf"
bytes = {size}
sha256 = "{sha256}"
[[models.sources]]
[[models.sources.packages]]
package = "tiny-model==1.0"
archive_bytes = {size}
member = "tiny_model/data.bin"
bytes = {size}
"""


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
    shown.get_by_role("button", name="Apply and save").click()
    shown.get_by_role("button", name="Back to the defaults").wait_for()
    assert journal.used == [{"threads": 1, "gpu_layers": "auto"}]
    file = journal.path.parent / ".config" / APP / "assistant.toml"
    assert f"~/.config/{APP}/assistant.toml" in shown.inner_text()
    assert file.read_text(encoding="utf-8") == "threads = 1\n"
    page.reload()
    page.get_by_role("tab", name="Settings").click()
    assert shown.get_by_label("Threads").input_value() == "1"

    shown.get_by_role("button", name="Back to the defaults").click()
    from playwright.sync_api import expect

    expect(shown.get_by_label("Threads")).to_have_value("")
    expect(shown.get_by_role("button", name="Back to the defaults")).to_have_count(0)
    assert journal.used[-1] == {"threads": None}
    assert file.read_text(encoding="utf-8") == ""


@pytest.fixture
def slow_index() -> Iterator[str]:
    """A package index with one package, whose bytes come slowly."""
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as wheel:
        wheel.writestr("tiny_model/data.bin", CONTENT)
        wheel.writestr("tiny_model-1.0.dist-info/METADATA", METADATA)
        wheel.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        wheel.writestr("tiny_model-1.0.dist-info/RECORD", "")
    name, data = "tiny_model-1.0-py3-none-any.whl", packed.getvalue()

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listing = self.path.startswith("/simple/")
            body = f'<a href="/{name}">{name}</a>'.encode() if listing else data
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if listing else "application/zip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for start in range(0, len(body), CHUNK_BYTES):
                self.wfile.write(body[start : start + CHUNK_BYTES])
                time.sleep(0 if listing else 0.15)

        def log_message(self, *_arguments: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


def test_a_model_is_fetched_by_a_click_with_its_progress_and_then_used(
    browser: Browser, slow_index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(CATALOGUE.format(size=len(CONTENT), sha256=sha256), encoding="utf-8")
    for name, value in {
        "TEST_CATALOGUE": str(catalogue),
        "ASSISTANT_MODELS_DIR": str(tmp_path / "models"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": slow_index,
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    journal = Journal(tmp_path / "journal.jsonl")
    journal.path.touch()
    command = [sys.executable, "-m", "tests.browser.scripted_page", str(journal.path)]
    with served(command) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        page.get_by_role("tab", name="Settings").click()
        row = page.locator('[data-model="tiny"]')
        row.get_by_role("button", name="Fetch 1.2 MB").click()
        bar = page.locator(".pulling progress")
        page.wait_for_function(
            "() => { const bar = document.querySelector('.pulling progress');"
            " return bar && bar.value > 0 && bar.value < bar.max; }"
        )
        assert int(bar.get_attribute("max") or 0) == len(CONTENT)
        row.get_by_role("button", name="Use").click()
        page.get_by_role("button", name="Back to the default").wait_for()
    fetched = tmp_path / "models" / "tiny" / "tiny.gguf"
    assert hashlib.sha256(fetched.read_bytes()).hexdigest() == sha256
    assert journal.used == [{"model": "tiny"}]
