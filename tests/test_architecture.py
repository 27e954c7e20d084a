"""Which module may import what, and when."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("vectorstore", "assistant")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

HEAVY = (
    "Bio",
    "chromadb",
    "defusedxml",
    "fastapi",
    "gradio",
    "huggingface_hub",
    "ir_measures",
    "langchain_text_splitters",
    "latex2mathml",
    "limits",
    "llama_cpp",
    "matplotlib",
    "mcp",
    "onnx",
    "onnxruntime",
    "openTSNE",
    "openpyxl",
    "prometheus_client",
    "pyarrow",
    "pybtex",
    "ray",
    "rispy",
    "safetensors",
    "sklearn",
    "tantivy",
    "tokenizers",
    "tomlkit",
    "uvicorn",
)
"""Libraries that take long to import or bring much along."""

_USERS = {
    "chromadb": ["vectorstore/index/chroma.py", "vectorstore/remote/server.py"],
    "llama_cpp": ["assistant/llm/hardware.py", "assistant/llm/llama.py"],
    "gradio": [
        "assistant/ui/drop_area.py",
        "assistant/ui/served.py",
        "assistant/ui/tab_batch.py",
        "assistant/ui/tab_chat.py",
        "assistant/ui/tab_map.py",
        "assistant/ui/tab_papers.py",
        "assistant/ui/tab_settings.py",
        "assistant/ui/web.py",
    ],
    "pyarrow": ["vectorstore/sources/tables.py", "assistant/question_files/answers.py"],
    "pybtex": ["vectorstore/sources/bibliographies.py", "vectorstore/sources/exports.py"],
}
"""Where a heavy library has several users: Chroma's folders and its servers; one runs models, the
other asks what was built; one reads BibTeX or Parquet, the other writes; each tab is a module."""

ADAPTERS = {"assistant/langchain.py": "langchain_core", "assistant/llamaindex.py": "llama_index"}
"""Modules for users of other frameworks, which are extras; nobody else imports either."""

LAYERS = {
    "assistant": (
        "model_files", "llm", "streaming", "checking", "answer", "question_files", "quality", "ui",
        "serving", "commands",
    ),
    "vectorstore": ("sources", "index", "remote"),
}  # fmt: skip
"""Packages, each of which knows those before it and none behind it."""

_PRINTERS = {Path("assistant/commands/cli.py"), Path("assistant/commands/console.py")}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports anywhere, also inside functions."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)}:{node.lineno}: a relative import"
            yield node.module or ""


@cache
def _packages_imported(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in _imports(path)}


@pytest.mark.parametrize("path", sorted((ROOT / "vectorstore").rglob("*.py")), ids=_name)
def test_the_store_knows_nothing_of_the_assistant(path: Path) -> None:
    assert "assistant" not in _packages_imported(path)


@pytest.mark.parametrize(
    ("top", "package"), [(top, each) for top, packages in LAYERS.items() for each in packages]
)
def test_a_package_knows_none_of_those_above_it(top: str, package: str) -> None:
    above = LAYERS[top][LAYERS[top].index(package) + 1 :]
    modules = (ROOT / top / package).glob("*.py")
    known = {tuple(name.split(".")[:2]) for path in modules for name in _imports(path)}
    assert not known & {(top, each) for each in above}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_the_program_imports_neither_tests_nor_setup(path: Path) -> None:
    assert not {"tests", "bootstrap", "pytest"} & _packages_imported(path)


@pytest.mark.parametrize("library", HEAVY)
def test_a_heavy_library_is_imported_by_one_module(library: str) -> None:
    users = [_name(path) for path in MODULES if library in _packages_imported(path)]
    assert len(users) == 1 or users == _USERS.get(library), users


@pytest.mark.parametrize(("adapter", "framework"), ADAPTERS.items())
def test_an_adapter_is_for_its_users_alone(adapter: str, framework: str) -> None:
    module = adapter.removesuffix(".py").replace("/", ".")
    users = [_name(path) for path in MODULES if framework in _packages_imported(path)]
    assert users == [adapter]
    assert not [path for path in MODULES if module in _imports(path)]


def test_importing_every_module_loads_no_heavy_library() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in MODULES
        if path.name != "__main__.py" and _name(path) not in ADAPTERS
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES}
    edges = {
        module: {name for name in _imports_on_load(path) if name in graph}
        for module, path in graph.items()
    }
    while leaves := {module for module, targets in edges.items() if not targets}:
        edges = {
            module: targets - leaves for module, targets in edges.items() if module not in leaves
        }
    assert edges == {}


def _imports_on_load(path: Path) -> Iterator[str]:
    for node in _tree(path).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_only_the_command_line_prints(path: Path) -> None:
    if path.relative_to(ROOT) in _PRINTERS:
        return
    calls = [
        node.lineno
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"print", "breakpoint"}
    ]
    assert calls == [], f"{_name(path)} prints in lines {calls}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(_tree(path)), _name(path)
