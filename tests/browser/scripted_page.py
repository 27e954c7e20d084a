"""Serve the page over the scripted assistant, in a process of its own.

Run as ``python -m tests.browser.scripted_page JOURNAL``: the address goes to standard output, what
happens to the streams to the journal, a JSON list a line: ``["asked", question, history]`` or
``["closed", question]``. A process of its own because Gradio leaves event loops behind, and tests
that fail on every warning must not inherit them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from assistant.server import serve
from tests.fakes import ScriptedAssistant, ScriptedStream, default_stories
from vectorstore.filters import Filters

EXAMPLES = (
    "How fast does Larch answer on a laptop with two cores?",
    "When should a system decline to answer?",
)


class JournalledAssistant(ScriptedAssistant):
    """Writes down what becomes of each stream."""

    journal: Path

    def stream(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> ScriptedStream:
        """Play a story, and note it."""
        self._note("asked", question, list(history))
        return super().stream(question, history=history, where=where)

    def _note_closed(self, question: str) -> None:
        self._note("closed", question)

    def _note(self, *entry: object) -> None:
        with self.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    assistant = JournalledAssistant(default_stories(), examples=EXAMPLES, pause_seconds=0.03)
    assistant.journal = Path(sys.argv[1])
    serve(assistant, port=7960, announce=say)
