"""The embedding model as an ONNX graph, written from its published weights without PyTorch.

Only importer of ``onnx`` and ``safetensors``. The graph is BERT (6 layers, 12 heads, hidden 384)
with mean pooling and normalisation at its end; it takes token ids and gives unit vectors.

Reference:
    Devlin et al. (NAACL 2019), doi:10.18653/v1/N19-1423; Reimers, Gurevych (EMNLP 2019),
    doi:10.18653/v1/D19-1410, for the pooling.
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

GRAPH_VERSION = 1
"""Raise when the graph changes; graphs written by older versions are then written anew."""

LAYERS = 6
HEADS = 12
HIDDEN = 384
_HEAD = HIDDEN // HEADS
_EPSILON = 1e-12
_OPSET = 20

Weights = dict[str, NDArray[np.float32]]


def convert(safetensors_path: Path, onnx_path: Path) -> None:
    """Write the graph of published weights to a file, whole or not at all.

    Raises:
        ValueError: If the weights are not those of this architecture.
        OSError: If a file cannot be read or written.
    """
    content = build(safetensors_path)
    handle, name = tempfile.mkstemp(prefix=f".{onnx_path.name}.", dir=onnx_path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp makes files for their owner alone; a shared model folder is for all.
        temporary.chmod(0o644)
        temporary.replace(onnx_path)
    finally:
        temporary.unlink(missing_ok=True)


def build(safetensors_path: Path) -> bytes:
    """Return the graph of published weights, serialised.

    Raises:
        ValueError: If the weights are not those of this architecture.
        OSError: If the file cannot be read.
    """
    return bytes(_model(read_weights(safetensors_path)).SerializeToString())


def read_weights(path: Path) -> Weights:
    """Read weights by name, and check that all there should be are there, in the right shape.

    Raises:
        ValueError: If one is missing or has another shape, or the file is no safetensors file.
        OSError: If the file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        weights = {name: value for name, value in load_file(path).items() if value.ndim}
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a safetensors file: {error}") from error
    for name, shape in _shapes().items():
        found = weights[name].shape if name in weights else None
        if (
            found is None
            or len(found) != len(shape)
            or any(want not in (None, have) for want, have in zip(shape, found, strict=True))
        ):
            raise ValueError(f"{path.name}: {name} has shape {found}, expected {shape}")
    return {name: weights[name].astype(np.float32) for name in _shapes()}


def _shapes() -> dict[str, tuple[int | None, ...]]:
    """Names and shapes of the weights; None for a size that the file decides."""
    shapes: dict[str, tuple[int | None, ...]] = {
        "embeddings.word_embeddings.weight": (None, HIDDEN),
        "embeddings.position_embeddings.weight": (None, HIDDEN),
        "embeddings.token_type_embeddings.weight": (None, HIDDEN),
        "embeddings.LayerNorm.weight": (HIDDEN,),
        "embeddings.LayerNorm.bias": (HIDDEN,),
    }
    inner = 4 * HIDDEN
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{at}.attention.{part}.weight"] = (HIDDEN, HIDDEN)
            shapes[f"{at}.attention.{part}.bias"] = (HIDDEN,)
        shapes[f"{at}.intermediate.dense.weight"] = (inner, HIDDEN)
        shapes[f"{at}.intermediate.dense.bias"] = (inner,)
        shapes[f"{at}.output.dense.weight"] = (HIDDEN, inner)
        shapes[f"{at}.output.dense.bias"] = (HIDDEN,)
        for norm in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{at}.{norm}.weight"] = (HIDDEN,)
            shapes[f"{at}.{norm}.bias"] = (HIDDEN,)
    return shapes


def _model(weights: Weights) -> ModelProto:
    from onnx import TensorProto, helper

    graph = _Graph()
    mask = graph.add("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    state = _embed(graph, weights)
    bias = _attention_bias(graph, mask)
    for layer in range(LAYERS):
        state = _layer(graph, weights, f"encoder.layer.{layer}", state, bias)
    _pool(graph, state, mask)
    tokens = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", HIDDEN])
    proto = helper.make_graph(graph.nodes, "minilm", tokens, [vectors], graph.constants)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
    helper.set_model_props(model, {"graph_version": str(GRAPH_VERSION)})
    return model


class _Graph:
    """Nodes and constants in the making; each method returns the name of what it adds."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: NDArray[np.generic]) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        return self.constant(np.array(value, dtype=np.float32))

    def dense(self, weights: Weights, name: str, x: str) -> str:
        product = self.add("MatMul", [x, self.constant(weights[f"{name}.weight"].T)])
        return self.add("Add", [product, self.constant(weights[f"{name}.bias"])])

    def norm(self, weights: Weights, name: str, x: str) -> str:
        scale = self.constant(weights[f"{name}.weight"])
        bias = self.constant(weights[f"{name}.bias"])
        return self.add("LayerNormalization", [x, scale, bias], epsilon=_EPSILON, axis=-1)


def _embed(graph: _Graph, weights: Weights) -> str:
    """Return the name of the state (texts, tokens, hidden) before the first layer."""
    words = graph.constant(weights["embeddings.word_embeddings.weight"])
    # Every token is of type 0 here, so its vector can be part of the positions.
    types = weights["embeddings.token_type_embeddings.weight"][0]
    places = graph.constant(weights["embeddings.position_embeddings.weight"] + types)
    shape = graph.add("Shape", ["input_ids"])
    length = graph.add("Slice", [shape, graph.integers(1), graph.integers(2)])
    used = graph.add("Slice", [places, graph.integers(0), length, graph.integers(0)])
    summed = graph.add("Add", [graph.add("Gather", [words, "input_ids"]), used])
    return graph.norm(weights, "embeddings.LayerNorm", summed)


def _attention_bias(graph: _Graph, mask: str) -> str:
    """Return what is added to attention scores, (texts, 1, 1, tokens): 0, or -10000 at padding."""
    wide = graph.add("Unsqueeze", [mask, graph.integers(1, 2)])
    padding = graph.add("Sub", [graph.number(1.0), wide])
    return graph.add("Mul", [padding, graph.number(-10_000.0)])


def _layer(graph: _Graph, weights: Weights, at: str, state: str, bias: str) -> str:
    attended = _attention(graph, weights, f"{at}.attention", state, bias)
    state = graph.norm(
        weights, f"{at}.attention.output.LayerNorm", graph.add("Add", [attended, state])
    )
    inner = graph.dense(weights, f"{at}.intermediate.dense", state)
    outer = graph.dense(weights, f"{at}.output.dense", graph.add("Gelu", [inner]))
    return graph.norm(weights, f"{at}.output.LayerNorm", graph.add("Add", [outer, state]))


def _attention(graph: _Graph, weights: Weights, at: str, state: str, bias: str) -> str:
    split = graph.integers(0, 0, HEADS, _HEAD)

    def heads(part: str, order: list[int]) -> str:
        projected = graph.dense(weights, f"{at}.self.{part}", state)
        return graph.add("Transpose", [graph.add("Reshape", [projected, split])], perm=order)

    query = heads("query", [0, 2, 1, 3])
    key = heads("key", [0, 2, 3, 1])
    scores = graph.add("MatMul", [query, key])
    scaled = graph.add("Div", [scores, graph.number(math.sqrt(_HEAD))])
    shares = graph.add("Softmax", [graph.add("Add", [scaled, bias])], axis=-1)
    mixed = graph.add("MatMul", [shares, heads("value", [0, 2, 1, 3])])
    joined = graph.add("Transpose", [mixed], perm=[0, 2, 1, 3])
    flat = graph.add("Reshape", [joined, graph.integers(0, 0, HIDDEN)])
    return graph.dense(weights, f"{at}.output.dense", flat)


def _pool(graph: _Graph, state: str, mask: str) -> None:
    """Add the output: the mean over tokens that are not padding, scaled to norm 1.

    The mean's divisor falls out of the scaling, so the sum is enough.
    """
    weighted = graph.add("Mul", [state, graph.add("Unsqueeze", [mask, graph.integers(2)])])
    total = graph.add("ReduceSum", [weighted, graph.integers(1)], keepdims=0)
    norm = graph.add("ReduceL2", [total, graph.integers(1)], keepdims=1)
    graph.add("Div", [total, norm], output="vectors")
