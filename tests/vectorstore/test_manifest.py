from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from vectorstore import IndexDamagedError, IndexMismatchError
from vectorstore.index.manifest import FORMAT_VERSION, MANIFEST_NAME, Manifest

MANIFEST = Manifest(FORMAT_VERSION, "minilm", 384, 1, "cosine", "0.1.0", 68)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    assert Manifest.read(tmp_path) == MANIFEST
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_NAME]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("embedder", "other", "embedding model minilm, now other"),
        ("dimension", 7, "dimension 384, now 7"),
        ("chunking_version", 2, "chunking version 1, now 2"),
        ("distance", "l2", "distance cosine, now l2"),
    ],
)
def test_a_mismatch_says_what_differs_and_how_to_mend_it(
    tmp_path: Path, field: str, value: Any, words: str
) -> None:
    with pytest.raises(IndexMismatchError, match=words) as caught:
        MANIFEST.check(dataclasses.replace(MANIFEST, **{field: value}), tmp_path)
    assert caught.value.hint == f"assistant repair --index {tmp_path}"


def test_what_is_for_people_alone_may_differ(tmp_path: Path) -> None:
    MANIFEST.check(dataclasses.replace(MANIFEST, created_with="9", papers=1), tmp_path)


@pytest.mark.parametrize(("version", "age"), [(FORMAT_VERSION + 1, "newer"), (0, "older")])
def test_another_format_is_refused_whatever_else_it_holds(
    tmp_path: Path, version: int, age: str
) -> None:
    fields = {"format_version": version, "unknown": "field"}
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(fields))
    with pytest.raises(IndexMismatchError, match=age):
        Manifest.read(tmp_path)


WHOLE = dataclasses.asdict(MANIFEST)


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", "{}", '{"format_version": "x"}', "\ud800",
        json.dumps(WHOLE | {"dimension": "384"}), json.dumps(WHOLE | {"more": 1}),
        json.dumps({"format_version": FORMAT_VERSION}),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(IndexDamagedError, match="not the manifest"):
        Manifest.read(tmp_path)
