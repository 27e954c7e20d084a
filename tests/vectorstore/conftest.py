"""Fixtures of the store's tests: a built store, and the real embedding model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from tests.fakes import HashEmbedder
from tests.vectorstore.synthetic import synthetic
from vectorstore import Store

SEEDS = Path(__file__).resolve().parents[2] / "seeds" / "huggingface_papers.txt"


@pytest.fixture(scope="session")
def seeds() -> Path:
    return SEEDS


@pytest.fixture(scope="session")
def embedding_model_dir() -> Path:
    models = os.environ.get("ASSISTANT_TEST_MODELS")
    folder = (
        Path(models) if models else platformdirs.user_data_path("abstract-assistant") / "models"
    )
    folder /= "all-minilm-l6-v2"
    if not (folder / "model.safetensors").is_file():
        pytest.fail(f"{folder} lacks the embedding model: assistant models pull all-minilm-l6-v2")
    return folder


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder()


@pytest.fixture
def store(tmp_path: Path, embedder: HashEmbedder) -> Iterator[Store]:
    """A store of thirty papers."""
    with Store.create(tmp_path / "index", embedder) as made:
        made.ingest(synthetic(number) for number in range(30))
        yield made
