"""The real models, and an assistant over the bundled papers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from assistant import Assistant
from assistant.model_files.models import resolve
from assistant.resources import resource
from assistant.settings import EMBEDDING_MODEL, load_settings
from vectorstore import Paper, Store, read_papers
from vectorstore.embedding import MiniLMEmbedder

SMALL_MODEL = "smollm2-135m-instruct-q4_1"


@pytest.fixture(scope="session")
def models_dir() -> Path:
    own = os.environ.get("ASSISTANT_TEST_MODELS")
    return Path(own) if own else platformdirs.user_data_path("abstract-assistant") / "models"


@pytest.fixture(scope="session")
def small_model(models_dir: Path) -> Path:
    return resolve(SMALL_MODEL, models_dir)


@pytest.fixture(scope="session")
def bundled_papers() -> tuple[Paper, ...]:
    records = read_papers([resource("seeds/huggingface_papers.txt")])
    return tuple(record for record in records if isinstance(record, Paper))


@pytest.fixture(scope="session")
def bundled_index(
    tmp_path_factory: pytest.TempPathFactory, models_dir: Path, bundled_papers: tuple[Paper, ...]
) -> Path:
    path = tmp_path_factory.mktemp("bundled") / "index"
    embedder = MiniLMEmbedder(resolve(EMBEDDING_MODEL, models_dir))
    with Store.create(path, embedder) as store:
        store.ingest(bundled_papers)
    return path


@pytest.fixture(scope="session")
def assistant(
    tmp_path_factory: pytest.TempPathFactory, bundled_index: Path, models_dir: Path
) -> Iterator[Assistant]:
    """The default model over the bundled papers; its states start from nothing."""
    settings = load_settings(
        index=bundled_index, models_dir=models_dir, states_dir=tmp_path_factory.mktemp("states")
    )
    with Assistant(settings) as made:
        yield made
