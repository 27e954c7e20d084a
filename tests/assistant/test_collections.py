"""Several collections, one model: `Assistant.of` and `Assistant.making`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant import Assistant
from assistant.settings import load_settings
from assistant.types import Ranked, Retrieved
from tests.fakes import PAPERS
from vectorstore import CollectionError, CollectionNameError, Paper

NAME = "birds"


@pytest.fixture
def first(
    tmp_path: Path, bundled_index: Path, models_dir: Path, small_model: Path
) -> Iterator[Assistant]:
    settings = load_settings(
        index=bundled_index,
        collections_dir=tmp_path / "collections",
        models_dir=models_dir,
        model=str(small_model),
        states_dir=tmp_path / "states",
        read_ahead=0,
        max_papers=1,
    )
    with Assistant(settings) as made:
        with made.making(NAME) as store:
            store.ingest(PAPERS)
        yield made


def read(assistant: Assistant, question: str) -> set[str]:
    """Ids of the papers that were found; the model has read them, and writes nothing."""
    found: set[str] = set()
    with assistant.stream(question) as events:
        for event in events:
            if isinstance(event, Retrieved):
                found = {each.paper.id for each in event.passages}
            if isinstance(event, Ranked):
                return found
    pytest.fail("no paper was read")


def test_each_collection_answers_from_its_papers_with_the_same_models(first: Assistant) -> None:
    birds = first.of(NAME)
    assert (len(first.store), len(birds.store)) == (68, len(PAPERS))
    assert birds.settings.place_name == NAME
    question = "Which flocks show in weather radar?"
    known = {paper.id for paper in PAPERS}
    assert read(birds, question) <= known
    engine = first._models.engine
    assert engine is not None
    assert not read(first, question) & known
    assert birds._models is first._models
    assert first._models.engine is engine
    assert first.of(NAME) is birds
    assert birds.of("") is birds
    assert birds.of(first.settings.place_name) is first


def test_a_change_of_the_model_is_one_of_all(first: Assistant) -> None:
    birds = first.of(NAME)
    birds.use(threads=1)
    assert first.settings.threads == birds.settings.threads == 1
    assert birds.settings.place_name == NAME
    assert len(birds.store) == len(PAPERS)


def test_what_is_not_there_is_said_to_be(first: Assistant) -> None:
    with pytest.raises(CollectionError, match='"bird"'):
        first.of("bird")
    with pytest.raises(CollectionNameError):
        first.of("../birds")
    first.settings.collections.remove(NAME)
    with pytest.raises(CollectionError):
        first.of(NAME)


def test_a_collection_whose_making_fails_is_not_there(first: Assistant) -> None:
    def papers() -> Iterator[Paper]:
        yield PAPERS[0]
        raise RuntimeError

    with pytest.raises(RuntimeError), first.making("half") as store:
        store.ingest(papers())
    assert "half" not in first.settings.collections.names()
    with pytest.raises(CollectionError), first.making(NAME):
        pass
