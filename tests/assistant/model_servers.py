"""Real model servers on loopback, each a process of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

KEY = "loopback-key"

LLAMA_SERVER = """
import sys, threading, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.port = sys.argv[1], int(sys.argv[2])
parameters.n_ctx, parameters.n_parallel = int(sys.argv[4]), 2
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = int(sys.argv[5])
if sys.argv[3]:
    parameters.api_keys = [sys.argv[3]]
server = xllamacpp.Server(parameters)
threading.Event().wait()
"""
"""llama.cpp's llama-server, in the build that the package xllamacpp carries."""


class Running:
    """A server that may be killed."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port
        self.url = f"http://127.0.0.1:{port}/v1"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextlib.contextmanager
def llama_server(
    model: Path, *, key: str = "", context: int = 4096, port: int | None = None, threads: int = 1
) -> Iterator[Running]:
    port = port or free_port()
    command = ["-c", LLAMA_SERVER, str(model), str(port), key, str(context), str(threads)]
    with _started(command, port) as running:
        yield running


@contextlib.contextmanager
def llama_cpp_python_server(model: Path, *, logits: bool = True) -> Iterator[Running]:
    port = free_port()
    options = {
        "model": model,
        "host": "127.0.0.1",
        "port": port,
        "n_ctx": 2048,
        "n_threads": 1,
        "n_threads_batch": 1,
        "logits_all": logits,
        "interrupt_requests": False,
    }
    command = ["-m", "llama_cpp.server"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    with _started(command, port) as running:
        yield running


@contextlib.contextmanager
def _started(command: list[str], port: int) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    running = Running(process, port)
    try:
        _wait(running)
        yield running
    finally:
        running.kill()


def _wait(running: Running) -> None:
    for _ in range(1200):
        assert running.process.poll() is None, "the server did not start"
        with contextlib.suppress(httpx.TransportError):
            # Of a llama-server, which answers 503 while it loads its model; others do not have it.
            if httpx.get(running.url.replace("/v1", "/health"), timeout=5).status_code in {
                200,
                404,
            }:
                return
        time.sleep(0.1)
    raise AssertionError("the server did not answer in two minutes")
