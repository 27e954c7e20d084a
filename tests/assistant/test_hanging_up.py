"""Who hangs up idles the processor, whichever way they came and whatever the model was doing."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from assistant.serving.openai_chat import MODEL
from benchmarks.page_client import PageVisitor
from tests.assistant.serving import eventually
from tests.browser.conftest import served

QUESTION = "Which numbers are counted, one after the other?"
BUSY_SECONDS = 0.3
"""Processor time after which the model is in the middle of its work."""
IDLE_SECONDS = 0.1
"""Processor time that a server may use in a second without work."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the processor time")


@dataclass(frozen=True)
class Server:
    """A running server of the small model."""

    url: str
    journal: Path
    working: str
    """The event behind which its model works for long."""

    def events(self) -> list[str]:
        return self.journal.read_text().split() if self.journal.exists() else []

    def processor_seconds(self) -> float:
        """Return the processor time that the server has used so far."""
        text = httpx.get(f"{self.url}/metrics", trust_env=False).text
        lines = (line.split() for line in text.splitlines())
        return next(float(line[1]) for line in lines if line[0] == "process_cpu_seconds_total")

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Run the block, and wait until the question that was asked in it keeps the model busy."""
        known = len(self.events())
        yield
        eventually(lambda: self.working in self.events()[known:])
        started = self.processor_seconds()
        eventually(lambda: self.processor_seconds() - started > BUSY_SECONDS)
        assert "Ended" not in self.events()[known:]


@pytest.fixture(scope="module", params=["reading", "writing"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    command = [sys.executable, "-m", "tests.assistant.small_server", str(folder), request.param]
    with served(command) as url:
        working = {"reading": "Reading", "writing": "Draft"}[request.param]
        yield Server(url, folder / "events", working)


@contextmanager
def page(url: str) -> Iterator[None]:
    with PageVisitor(url) as visitor, visitor.asking(QUESTION):
        yield


def posted(path: str, **body: object) -> Callable[[str], AbstractContextManager[None]]:
    @contextmanager
    def post(url: str) -> Iterator[None]:
        data, address = json.dumps(body).encode(), httpx.URL(url)
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {address.netloc.decode()}\r\n"
            "content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
            f"content-length: {len(data)}\r\n\r\n"
        )
        with socket.create_connection((address.host, address.port or 0)) as connection:
            connection.sendall(head.encode() + data)
            yield

    return post


SAID = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}]}
CALL = {"name": "ask", "arguments": {"question": QUESTION}}
WAYS = {
    "page": page,
    "REST": posted("/v1/ask", question=QUESTION),
    "REST, streamed": posted("/v1/ask", question=QUESTION, stream=True),
    "OpenAI": posted("/v1/chat/completions", **SAID),
    "OpenAI, streamed": posted("/v1/chat/completions", **SAID, stream=True),
    "MCP": posted("/mcp", jsonrpc="2.0", id=1, method="tools/call", params=CALL),
}


@pytest.mark.parametrize("way", WAYS)
def test_hanging_up_idles_the_processor_within_a_second(server: Server, way: str) -> None:
    known = server.events().count("Ended")
    with WAYS[way](server.url), server.busy():
        pass
    hung_up = server.processor_seconds()
    eventually(lambda: server.events().count("Ended") > known)
    # By the processor's clock: a machine that is busy elsewhere has a longer second.
    assert server.processor_seconds() - hung_up < 1
    ended = server.processor_seconds()
    time.sleep(1)
    assert server.processor_seconds() - ended < IDLE_SECONDS
