"""A real server over a given assistant, in a thread of the test's own process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from assistant.serving.asking import ServedAssistant
from assistant.serving.gate import Access
from assistant.serving.server import bound, build_app

PATIENCE_SECONDS = 30.0
"""How long a test waits for what must happen before it calls it missing."""


@contextmanager
def served(assistant: ServedAssistant, access: Access | None = None) -> Iterator[str]:
    """Serve the API; yields its address."""
    access = access or Access()
    listening = bound("127.0.0.1", 0)
    config = uvicorn.Config(
        build_app(assistant, access),
        log_level="critical",
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        eventually(lambda: server.started)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def eventually(holds: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.01)
