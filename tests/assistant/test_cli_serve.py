"""The commands that serve, as programs of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest

from tests.assistant.serving import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
SCRIPTED = (sys.executable, "-m", "tests.assistant.scripted_cli")
KEY = "correct horse battery staple"


@contextmanager
def serving(*arguments: str, key: str | None = None) -> Iterator[httpx.Client]:
    """Run `assistant serve`, and end it with Ctrl-C; it must then end in order."""
    environment = {**os.environ, **({"ASSISTANT_API_KEY": key} if key else {})}
    with subprocess.Popen(
        [*SCRIPTED, "serve", "--port", "0", *arguments],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            address = next(
                line.split(" is at ")[1].strip() for line in process.stderr if " is at " in line
            )
            with httpx.Client(
                base_url=address, timeout=PATIENCE_SECONDS, trust_env=False
            ) as client:
                yield client
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_SECONDS) == 0
            assert "Closing" in process.stderr.read()
        finally:
            process.kill()


def test_without_the_page_programs_are_served() -> None:
    with serving("--api-only") as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/").status_code == 404
        answer = client.post("/v1/ask", json={"question": "How fast is it?"}).json()
        assert answer["status"] == "answered"


def test_with_a_key_the_browser_asks_for_it() -> None:
    with serving(key=KEY) as client:
        refused = client.get("/")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        shown = client.get("/", auth=("anybody", KEY))
        assert "Abstract Assistant" in shown.text
        assert "default-src 'self'" in shown.headers["content-security-policy"]
        assert client.get("/config", auth=("anybody", KEY)).status_code == 200
        assert client.get("/v1/models", auth=("anybody", KEY)).status_code == 401
        bearer = {"authorization": f"Bearer {KEY}"}
        assert client.get("/v1/models", headers=bearer).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "export ASSISTANT_API_KEY"),
        (("--api-key", "short"), "api_key"),
        (("--rate-limit", "often"), "'often' is no rate limit"),
    ],
)
def test_what_is_not_safe_is_not_served(arguments: tuple[str, ...], words: str) -> None:
    done = subprocess.run(
        [*SCRIPTED, "serve", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "short" not in done.stderr or "--api-key" not in arguments


INITIALIZE: dict[str, object] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
READY: dict[str, object] = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def asking(question: str) -> dict[str, object]:
    call = {"name": "ask", "arguments": {"question": question}}
    return {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}


@contextmanager
def speaking_mcp() -> Iterator[tuple[subprocess.Popen[str], IO[str], IO[str]]]:
    """Run `assistant mcp`; yields it with its standard input and output, past the greeting."""
    with subprocess.Popen(
        [*SCRIPTED, "mcp", "-vv"],
        cwd=ROOT,
        env={**os.environ, "PAUSE": "0.01"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            say(process.stdin, INITIALIZE)
            assert json.loads(process.stdout.readline())["id"] == 1
            say(process.stdin, READY)
            yield process, process.stdin, process.stdout
        finally:
            process.kill()


def say(stream: IO[str], message: dict[str, object]) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


def test_on_standard_output_mcp_alone_is_spoken() -> None:
    with speaking_mcp() as (process, stdin, stdout):
        say(stdin, asking("How fast is it?"))
        answer = json.loads(stdout.readline())
        assert answer["result"]["structuredContent"]["status"] == "answered"
        stdin.close()
        assert stdout.read() == ""
        assert process.wait(PATIENCE_SECONDS) == 0


def test_mcp_ends_with_its_input_in_the_middle_of_an_answer() -> None:
    with speaking_mcp() as (process, stdin, _):
        say(stdin, asking("endless"))
        stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0


def test_mcp_ends_at_ctrl_c() -> None:
    with speaking_mcp() as (process, stdin, _):
        say(stdin, asking("endless"))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) in (-signal.SIGINT, 130)
