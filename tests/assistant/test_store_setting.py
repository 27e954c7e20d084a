"""The setting that puts a Chroma server in the place of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assistant import doctor
from assistant.errors import SettingsError
from assistant.settings import load_settings
from vectorstore.places import FolderPlace, ServerPlace


def test_a_server_takes_the_place_of_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASSISTANT_STORE_TOKEN", "sesame")
    settings = load_settings(store="http://host:8000", replicas_dir=tmp_path)
    assert isinstance(settings.place, ServerPlace)
    assert str(settings.place) == "http://host:8000/abstracts"
    assert settings.index.parent == tmp_path
    assert settings.place.token == "sesame"
    assert "sesame" not in repr(settings)
    # Another setting leaves it where it is.
    assert settings.changed(threads=1).place == settings.place
    assert isinstance(load_settings(index=tmp_path).place, FolderPlace)
    talks = [each.message for each in doctor._hosts(settings)]
    assert any("http://host:8000/abstracts" in each for each in talks)


@pytest.mark.parametrize(
    "flags",
    [
        {"store": "host:8000"},
        {"store": "http://me:secret@host"},
        {"store": "http://host", "index": Path("elsewhere")},
        {"store": "http://host", "collection": "papers"},
    ],
)
def test_what_cannot_be_meant_is_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(**flags)
    assert "secret" not in str(refused.value)
