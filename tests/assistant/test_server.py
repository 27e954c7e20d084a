"""Ports: taken for good, or passed over."""

from __future__ import annotations

import socket

import pytest

from assistant.serving.server import bound


def test_a_taken_port_is_passed_over_and_stays_taken() -> None:
    with bound("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with bound("127.0.0.1", port) as second:
            assert second.getsockname()[1] > port
        with socket.create_connection(("127.0.0.1", port)):
            pass  # who comes early waits


def test_a_foreign_address_is_an_error() -> None:
    with pytest.raises(OSError, match=r".+"):
        bound("192.0.2.1", 7860)
