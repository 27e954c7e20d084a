"""The first run: fetch the models that the settings name, index the bundled papers.

What is there already is left alone and costs nothing. Only the defaults are made: an index that
the user named and that is not there is an error, not an invitation.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from assistant.errors import ModelMissingError
from assistant.model_files.model_address import is_served
from assistant.model_files.models import pull, resolve
from assistant.resources import resource
from assistant.settings import EMBEDDING_MODEL, Settings

SEEDS = "seeds/huggingface_papers.txt"


class Progress(Protocol):
    """Where the first run shows what it does; `terminal.Terminal` is one."""

    def note(self, text: str) -> None:
        """Say something in a line."""

    def fetching(self, text: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """A bar over bytes."""

    def counting(
        self, text: str, total: int | None, unit: str
    ) -> AbstractContextManager[Callable[[int], None]]:
        """A bar over things."""


def ensure_ready(settings: Settings, progress: Progress) -> None:
    """Make what a question needs and is not there.

    Raises:
        ModelError: A model cannot be fetched, or is missing and may not be fetched.
        StoreError: The index is missing where the user said that it is, or damaged.
    """
    settings.require_collection()
    for model in (EMBEDDING_MODEL, settings.model):
        if not is_served(model):
            _ensure_model(model, settings, progress)
    if settings.is_default_index and not settings.index.exists():
        _ingest_seeds(settings, progress)


def _ensure_model(model: str, settings: Settings, progress: Progress) -> None:
    try:
        resolve(model, settings.models_dir)
    except ModelMissingError:
        if settings.offline:
            raise
        with progress.fetching(model) as show:
            pull(model, settings.models_dir, progress=show)


def _ingest_seeds(settings: Settings, progress: Progress) -> None:
    from vectorstore import Paper
    from vectorstore.embedding import MiniLMEmbedder
    from vectorstore.sources.papers import read_papers
    from vectorstore.store import Store

    papers = [each for each in read_papers([resource(SEEDS)]) if isinstance(each, Paper)]
    progress.note("no papers yet; the bundled ones are taken. Yours: assistant ingest FILE --prune")
    embedder = MiniLMEmbedder(resolve(EMBEDDING_MODEL, settings.models_dir))
    with (
        Store.create(settings.index, embedder) as store,
        progress.counting("ingesting", len(papers), "papers") as show,
    ):
        store.ingest(papers, progress=show)
