"""The real model, against an independent forward pass in plain numpy."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from vectorstore import EmbeddingError, MiniLMEmbedder

TEXTS = [
    "hello",
    "",
    "Machine unlearning removes the influence of training data.",
    "TÜLU 3 pushes the frontiers of open language models; naïve, “quoted” — 77% of $R^3$.",
    "a long text " * 400,
    "深層学習 and [SEP] marks",
]

Array = NDArray[np.float64]
_erf = np.vectorize(math.erf, otypes=[np.float64])


def slow_embedding(folder: Path, text: str) -> Array:
    """Run BERT for one text, without batch, padding or mask, in float64; shape (384,)."""
    w = {k: v.astype(np.float64) for k, v in load_file(folder / "model.safetensors").items()}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ids = tokenizer.encode(text).ids
    ids = ids if len(ids) <= 256 else [*ids[:255], ids[-1]]

    def linear(name: str, x: Array) -> Array:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name: str, x: Array) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        normed: Array = centred / scale * w[f"{name}.weight"] + w[f"{name}.bias"]
        return normed

    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm("embeddings.LayerNorm", x + w["embeddings.token_type_embeddings.weight"][0])
    for layer in range(6):
        at = f"encoder.layer.{layer}"
        q, k, v = (linear(f"{at}.attention.self.{p}", x) for p in ("query", "key", "value"))
        heads = []
        for head in range(12):
            part = slice(32 * head, 32 * head + 32)
            scores = q[:, part] @ k[:, part].T / math.sqrt(32)
            shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
            heads.append(shares / shares.sum(axis=-1, keepdims=True) @ v[:, part])
        attended = linear(f"{at}.attention.output.dense", np.concatenate(heads, axis=-1))
        x = norm(f"{at}.attention.output.LayerNorm", attended + x)
        inner = linear(f"{at}.intermediate.dense", x)
        inner = 0.5 * inner * (1 + _erf(inner / math.sqrt(2)))
        x = norm(f"{at}.output.LayerNorm", linear(f"{at}.output.dense", inner) + x)
    mean: Array = x.mean(axis=0)
    unit: Array = mean / np.linalg.norm(mean)
    return unit


@pytest.fixture(scope="module")
def model(embedding_model_dir: Path) -> MiniLMEmbedder:
    return MiniLMEmbedder(embedding_model_dir)


def test_vectors_equal_an_independent_forward_pass(
    model: MiniLMEmbedder, embedding_model_dir: Path
) -> None:
    for text, vector in zip(TEXTS, model.embed(TEXTS), strict=True):
        assert vector @ slow_embedding(embedding_model_dir, text) >= 0.9999, text


def test_rows_are_unit_vectors_in_the_order_of_the_texts(model: MiniLMEmbedder) -> None:
    texts = [f"{'word ' * (n * 7 % 60)}{n}" for n in range(70)]
    vectors = model.embed(texts)
    assert vectors.shape == (70, model.dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    for n in (0, 33, 69):
        assert vectors[n] @ model.embed([texts[n]])[0] == pytest.approx(1.0, abs=1e-5)


def test_nothing_gives_no_rows(model: MiniLMEmbedder) -> None:
    assert model.embed([]).shape == (0, 384)


def test_any_characters_can_be_embedded(model: MiniLMEmbedder) -> None:
    vectors = model.embed(["\ud800 \0 \udcff", "x" * 100_000, "word " * 100_000])
    assert np.isfinite(vectors).all()


def copy(source: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copy(source / name, folder / name)
    return folder


def test_the_graph_is_written_once_and_leaves_nothing_else(
    embedding_model_dir: Path, tmp_path: Path
) -> None:
    folder = copy(embedding_model_dir, tmp_path / "model")
    first = MiniLMEmbedder(folder).embed(["hello"])
    written = (folder / "model.onnx").stat().st_mtime_ns
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "model.safetensors", "tokenizer.json",
    }  # fmt: skip
    assert (MiniLMEmbedder(folder).embed(["hello"]) == first).all()
    assert (folder / "model.onnx").stat().st_mtime_ns == written


def test_a_damaged_graph_is_written_anew(embedding_model_dir: Path, tmp_path: Path) -> None:
    folder = copy(embedding_model_dir, tmp_path / "model")
    (folder / "model.onnx").write_bytes(b"half a graph")
    assert MiniLMEmbedder(folder).embed(["hello"]).shape == (1, 384)
    assert (folder / "model.onnx").stat().st_size > 80_000_000


def test_a_folder_that_cannot_be_written_is_enough(
    embedding_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy(embedding_model_dir, tmp_path / "model")
    # As root, permissions stop nobody; so the refusal is put where the system would make it.
    refuse = PermissionError(13, "Permission denied")
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (_ for _ in ()).throw(refuse))
    assert MiniLMEmbedder(folder).embed(["hello"]).shape == (1, 384)
    assert not (folder / "model.onnx").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other"])
def test_a_missing_or_damaged_file_says_which_command_mends_it(
    embedding_model_dir: Path, tmp_path: Path, name: str, damage: str
) -> None:
    folder = copy(embedding_model_dir, tmp_path / "model")
    path = folder / name
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        path.write_text('{"version": "1.0"}')
    else:
        os.truncate(path, 0 if damage == "empty" else path.stat().st_size // 2)
    with pytest.raises(EmbeddingError) as caught:
        MiniLMEmbedder(folder).embed(["hello"])
    assert caught.value.hint == "assistant models pull all-minilm-l6-v2"
    assert str(folder) in str(caught.value)
    assert not (folder / "model.onnx").exists() or name == "tokenizer.json"


def test_nothing_heavy_happens_before_the_first_text(tmp_path: Path) -> None:
    code = (
        "import sys; from vectorstore import MiniLMEmbedder; "
        f"m = MiniLMEmbedder({str(tmp_path / 'nowhere')!r}); assert m.name and m.dimension == 384; "
        "heavy = {'onnx', 'onnxruntime', 'tokenizers', 'safetensors', 'chromadb', 'tantivy'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
