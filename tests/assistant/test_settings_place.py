"""Where the papers are: a collection or an index, whichever was said last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assistant import Assistant
from assistant import settings as module
from assistant.errors import SettingsError
from assistant.settings import load_settings
from vectorstore import CollectionError, CollectionNameError


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("ASSISTANT_INDEX", "ASSISTANT_COLLECTION", "ASSISTANT_COLLECTIONS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "user_data_path", lambda app: tmp_path)
    monkeypatch.setattr(module, "user_config_path", lambda app: tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_word_it_is_where_it_always_was(data: Path) -> None:
    settings = load_settings()
    assert settings.index == data / "index"
    assert settings.is_default_index
    assert load_settings(collection="default").index == data / "index"


def test_a_collection_has_a_folder_of_its_own(data: Path) -> None:
    assert load_settings(collection="birds").index == data / "collections" / "birds"
    elsewhere = load_settings(collection="birds", collections_dir=data / "x")
    assert elsewhere.index == data / "x" / "birds"


@pytest.mark.parametrize("first", ["index", "collection"])
@pytest.mark.parametrize("level", ["flag", "environment", "here", "home"])
def test_the_nearest_word_wins(
    data: Path, monkeypatch: pytest.MonkeyPatch, first: str, level: str
) -> None:
    wanted = {"index": data / "mine", "collection": data / "collections" / "mine"}[first]
    value = str(wanted) if first == "index" else "mine"
    (other,) = {"index", "collection"} - {first}
    levels = ["flag", "environment", "here", "home"]
    flags: dict[str, Any] = {}
    for each in levels[levels.index(level) :]:
        name, text = (first, value) if each == level else (other, "other")
        if each == "flag":
            flags[name] = text
        elif each == "environment":
            monkeypatch.setenv(f"ASSISTANT_{name.upper()}", text)
        else:
            file = data / "assistant.toml" if each == "here" else data / "config/assistant.toml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f'{name} = "{text}"\n')
    settings = load_settings(**flags)
    assert settings.index == wanted
    assert not settings.is_default_index
    assert settings.changed(threads=1).index == wanted
    assert settings.changed(collection="third").index == data / "collections" / "third"


def test_both_in_one_breath_is_an_error(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    with pytest.raises(SettingsError, match="collection and index"):
        load_settings(index=data, collection="birds")
    monkeypatch.setenv("ASSISTANT_INDEX", str(data))
    monkeypatch.setenv("ASSISTANT_COLLECTION", "birds")
    with pytest.raises(SettingsError, match="collection and index"):
        load_settings()
    assert load_settings(collection="birds").collection == "birds"


def test_a_bad_name_is_explained() -> None:
    with pytest.raises(CollectionNameError):
        load_settings(collection="../birds")


def test_an_assistant_works_on_the_collection_that_it_is_given(data: Path) -> None:
    with Assistant(load_settings(index=data), collection="birds", threads=1) as assistant:
        assert assistant.settings.index == data / "collections" / "birds"


def test_only_a_collection_that_is_named_must_be_there(data: Path) -> None:
    load_settings().require_collection()
    load_settings(index=data / "x").require_collection()
    with pytest.raises(CollectionError, match='"birds"'):
        load_settings(collection="birds").require_collection()
