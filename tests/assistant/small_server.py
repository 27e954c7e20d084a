"""Serve the small model: ``python -m tests.assistant.small_server FOLDER reading|writing``.

``reading`` serves papers so long and so many that the model reads for many seconds before it
answers; ``writing`` serves one short paper, of which the model writes for as long. The address goes
to standard output; the events of the answers, and ``Ended`` for their end, go to FOLDER/events, one
a line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from assistant import Assistant
from assistant.answer import pipeline
from assistant.answer.answering import Answering
from assistant.answer.calibration import NO_GATE
from assistant.llm.llama import Llama
from assistant.model_files.models import resolve
from assistant.serving.server import serve
from assistant.settings import EMBEDDING_MODEL, Settings, load_settings
from assistant.types import Event
from tests.assistant.conftest import SMALL_MODEL
from tests.browser.scripted_page import private_folders, say
from vectorstore import Paper, Store
from vectorstore.embedding import MiniLMEmbedder

COUNTING = Paper("counting", "Counting", "We count numbers, one after the other. Two follows one.")
LONG = tuple(
    Paper(
        f"long-{nth}",
        f"Counting in {nth} steps",
        " ".join(f"In step {step} we count the numbers from {nth} on." for step in range(120)),
    )
    for nth in range(12)
)


class WatchedAssistant(Assistant):
    """Writes down what it is doing."""

    def __init__(self, settings: Settings, journal: Path) -> None:
        super().__init__(settings)
        self._journal = journal

    def _events(self, run: Answering, store: Store) -> Iterator[Event]:
        try:
            for event in super()._events(run, store):
                self._note(type(event).__name__)
                yield event
        finally:
            self._note("Ended")

    def _note(self, entry: str) -> None:
        with self._journal.open("a") as file:
            file.write(entry + "\n")


def write_without_end() -> None:
    """Let the model go on where it would end."""
    Llama.ends_turn = lambda self, token: False  # type: ignore[method-assign]
    pipeline.ANSWER_TOKENS = 4000


if __name__ == "__main__":
    folder, doing = Path(sys.argv[1]), sys.argv[2]
    private_folders(folder)
    settings = load_settings(model=SMALL_MODEL, max_papers=len(LONG), read_ahead=0)
    embedder = MiniLMEmbedder(resolve(EMBEDDING_MODEL, settings.models_dir))
    with Store.create(settings.index, embedder) as made:
        made.ingest(LONG if doing == "reading" else [COUNTING])
    if doing == "writing":
        write_without_end()
    assistant: Assistant = WatchedAssistant(settings, folder / "events")
    with assistant:
        assistant.thresholds = NO_GATE
        assistant.preload()
        serve(assistant, port=0, announce=say)
