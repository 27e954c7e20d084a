"""The command line as a program of its own, with scripted stand-ins for the model.

Run by the tests that need real streams, signals and pipes. ``PAUSE`` is the seconds between the
events of a stream.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from assistant.commands import cli, console
from tests.fakes import ScriptedAssistant, default_stories


def main() -> None:
    scripted = ScriptedAssistant(
        default_stories(), pause_seconds=float(os.environ.get("PAUSE", "0"))
    )

    @contextmanager
    def open_assistant(settings: object) -> Iterator[ScriptedAssistant]:
        yield scripted

    vars(console)["open_assistant"] = open_assistant
    cli.main()


if __name__ == "__main__":
    # A shell that runs the tests in the background has told them to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
