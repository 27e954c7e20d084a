"""The models, each loaded once, and the queue before the language model.

Shared by the assistants of several collections. Knows nothing of papers and of questions.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from assistant.llm.engine import Engine
from assistant.llm.engines import open_engine
from assistant.llm.prompts import load_prompts
from assistant.model_files.models import resolve
from assistant.resources import resource
from assistant.settings import EMBEDDING_MODEL, Settings
from assistant.streaming.streams import Worker

if TYPE_CHECKING:
    from vectorstore import Embedder


class LoadedModels:
    """A language model behind its queue, and the embedding model; nothing is loaded before use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.prompts = load_prompts(resource("prompts/answer.toml"))
        self.worker = Worker(interrupt=self._stop, rearm=self._rearm)
        self.engine: Engine | None = None
        """What is loaded at the moment."""

    @functools.cached_property
    def embedder(self) -> Embedder:
        """The embedding model."""
        from vectorstore.embedding import MiniLMEmbedder

        return MiniLMEmbedder(resolve(EMBEDDING_MODEL, self.settings.models_dir))

    def open_engine(self) -> Engine:
        """The language model; on the worker's thread.

        Raises:
            ModelError: It cannot be loaded.
        """
        if self.engine is None:
            self.engine = open_engine(self.settings, self.prompts)
        return self.engine

    def loading(self) -> Iterator[Any]:
        """A job that loads the language model."""
        self.open_engine()
        return iter(())

    def exchanging(self, settings: Settings) -> Iterator[Any]:
        """A job that goes on with the language model of other settings."""
        self._free()
        self.settings = settings
        return self.loading()

    def close(self) -> None:
        """Stop what runs, drop what waits, and free the language model."""
        self.worker.close()
        self._free()

    def _free(self) -> None:
        if self.engine is not None:
            self.engine.close()
            self.engine = None

    def _stop(self) -> None:
        if self.engine is not None:
            self.engine.stop()

    def _rearm(self) -> None:
        if self.engine is not None:
            self.engine.rearm()
