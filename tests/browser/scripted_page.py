"""Serve the page over the scripted assistant, in a process of its own.

Run as ``python -m tests.browser.scripted_page JOURNAL [/ROOT] [USER:PASSWORD ...]``: the address
goes to standard output, what happens to the streams to the journal, a JSON list a line:
``["asked", question, history, papers, collection]`` or ``["closed", question]``. TEST_CATALOGUE
names another catalogue of models. A process of its own because Gradio leaves event loops behind,
and tests that fail on every warning must not inherit them.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from assistant.model_files import catalogue
from assistant.resources import resource
from assistant.serving.gate import Access
from assistant.serving.logins import read_logins
from assistant.serving.server import serve
from assistant.settings import Settings, load_settings
from assistant.setup import SEEDS
from tests.fakes import (
    PAPERS,
    HashEmbedder,
    ScriptedAssistant,
    ScriptedStream,
    default_stories,
)
from vectorstore import Paper, Store, read_papers
from vectorstore.filters import Filters

EXAMPLES = (
    "How fast does Larch answer on a laptop with two cores?",
    "When should a system decline to answer?",
)


class JournalledAssistant(ScriptedAssistant):
    """Writes down what becomes of each stream."""

    journal: Path
    folder: Path
    """Of the index and the conversations."""
    collection: Store
    others: dict[str, JournalledAssistant]
    name: str = "seeds"

    @property
    def settings(self) -> Settings:
        """Everything that is written goes below the folder."""
        return load_settings(
            collection=self.name,
            collections_dir=self.folder / "collections",
            conversations=self.folder / "conversations.sqlite3",
            states_dir=self.folder / "states",
        )

    @property
    def store(self) -> Store:  # type: ignore[override]
        """A real index of the stories' papers and bundled ones; only its vectors are made up."""
        return self.collection

    def of(self, collection: str) -> JournalledAssistant:
        """A real one of the collections that were made here; its stories are the same."""
        if collection in ("", self.name):
            return self
        folder = self.settings.collections.require(collection)
        if collection not in self.others:
            other = copy.copy(self)
            other.name, other.collection = collection, Store.open(folder, HashEmbedder())
            self.others[collection] = other
        return self.others[collection]

    @contextmanager
    def making(self, collection: str) -> Iterator[Store]:
        """A real collection; only its vectors are made up."""
        with (
            self.settings.collections.placing(collection) as folder,
            Store.create(folder, HashEmbedder()) as store,
        ):
            yield store

    def stream(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> ScriptedStream:
        """Play a story, and note it."""
        chosen = where.ids if where and where.ids else ()
        self._note("asked", question, list(history), list(chosen), self.name)
        return super().stream(question, history=history, where=where)

    def use(self, **changes: object) -> None:
        """Note what was changed."""
        self._note("used", changes)

    def _note_closed(self, question: str) -> None:
        self._note("closed", question)

    def _note(self, *entry: object) -> None:
        with self.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def collection(folder: Path) -> Store:
    """The stories' papers and so many of the bundled ones that there are 68, as the stories say."""
    bundled = [each for each in read_papers([resource(SEEDS)]) if isinstance(each, Paper)]
    store = Store.create(folder / "collections/seeds", HashEmbedder(), rebuild=True)
    store.ingest([*PAPERS, *bundled[: 68 - len(PAPERS)]])
    return store


def private_folders(folder: Path) -> None:
    """Let settings and collections of whoever runs the tests be neither seen nor changed."""
    os.environ.setdefault("ASSISTANT_MODELS_DIR", str(load_settings().models_dir))
    os.environ["HOME"] = str(folder)
    os.environ["XDG_CONFIG_HOME"] = str(folder / ".config")
    os.environ["XDG_DATA_HOME"] = str(folder / ".local" / "share")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    assistant = JournalledAssistant(default_stories(), examples=EXAMPLES, pause_seconds=0.03)
    assistant.journal = Path(sys.argv[1])
    assistant.folder = assistant.journal.parent
    assistant.others = {"seeds": assistant}
    private_folders(assistant.folder)
    assistant.collection = collection(assistant.folder)
    if path := os.environ.get("TEST_CATALOGUE"):
        catalogue.CATALOGUE = Path(path)
    root_path = next((each for each in sys.argv[2:] if each.startswith("/")), "")
    access = Access(logins=read_logins(each for each in sys.argv[2:] if each != root_path))
    serve(assistant, access, port=7960, announce=say, root_path=root_path)
