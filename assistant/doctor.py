"""Look at an installation and say what is well, what is doubtful, and what to type.

Findings are data; an edge prints them. Nothing is changed, fetched or sent anywhere.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from assistant.errors import USER_ERRORS, ModelError
from assistant.llm import hardware
from assistant.model_files.catalogue import catalogue
from assistant.model_files.model_address import ModelAddress, is_served
from assistant.model_files.models import resolve, verify
from assistant.settings import EMBEDDING_MODEL, Settings
from assistant.settings_sources import NO_FILES_OPTION
from vectorstore.index.folder import can_write

if TYPE_CHECKING:
    from vectorstore.places import Place

Level = Literal["ok", "warning", "problem"]

PYTHON_NEEDED = (3, 11)
PACKAGES = (
    "abstract-assistant",
    "llama-cpp-python",
    "chromadb",
    "tantivy",
    "onnxruntime",
    "tokenizers",
    "gradio",
    "huggingface-hub",
    "pip",
)
# Those that decide how fast a matrix is multiplied.
FAST_FEATURES = (
    "AVX2", "FMA", "F16C", "AVX_VNNI", "AVX512", "AVX512_VNNI", "AMX_INT8",
    "DOTPROD", "MATMUL_INT8", "FP16_VA",
)  # fmt: skip
_COMPARED_PAPERS = 20_000
"""Up to so many papers are compared one by one without being asked to; it takes seconds."""
CONTEXT_BYTES = 600_000_000
"""Memory for context and buffers, for a model of which only the file is known."""
REBUILD = (
    'CMAKE_ARGS="{}" pip install --force-reinstall --no-deps --no-cache-dir '
    "--no-binary=llama-cpp-python llama-cpp-python"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    """``problem``: an answer is not possible like this. ``warning``: it is, but not at its best."""
    topic: str
    message: str
    hint: str | None = None
    """The next command to type, or what to change."""


def examine(settings: Settings, *, full: bool = False) -> list[Finding]:
    """Look at everything that an answer needs.

    Args:
        settings: What the program would run with.
        full: Also hash the models, and load the language model even where no layer of it can be
            on a GPU.

    Returns:
        The findings, in the order of the parts: Python, settings, processor, GPU, models, index,
        disk, network.
    """
    findings = [_python(), *_packages(), *_settings(settings)]
    build = _build(findings)
    if build is not None:
        findings += _cpu(build)
    findings += [_threads(settings), _memory(settings)]
    findings += _models(settings, full=full)
    # A library with instructions that this CPU lacks would end this process, not fail.
    if build is not None and all(finding.topic != "processor" for finding in problems(findings)):
        findings += _gpu(settings, build, full=full)
    findings += [_index(settings, full=full), *_disk(settings), *_hosts(settings)]
    return findings


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """Those that keep the program from answering."""
    return [finding for finding in findings if finding.level == "problem"]


# Python and packages


def _python() -> Finding:
    version = platform.python_version()
    message = f"Python {version} on {platform.system()} {platform.machine()}"
    if sys.version_info < PYTHON_NEEDED:
        return Finding("problem", "python", message, "install Python 3.11 or later")
    return Finding("ok", "python", message)


def _packages() -> Iterator[Finding]:
    versions = {name: _version(name) for name in PACKAGES}
    missing = [name for name, version in versions.items() if version is None]
    have = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield Finding("ok", "packages", have)
    if "abstract-assistant" in missing:  # runs from a checkout
        missing.remove("abstract-assistant")
    if "pip" in missing:
        missing.remove("pip")
        hint = f"{sys.executable} -m ensurepip"
        yield Finding("warning", "packages", "without pip, models come from the hub only", hint)
    if missing:
        hint = f"pip install {' '.join(missing)}"
        yield Finding("problem", "packages", f"not installed: {', '.join(missing)}", hint)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


# Settings


def _settings(settings: Settings) -> Iterator[Finding]:
    for notice in settings.notices:
        yield Finding("warning", "settings", notice, f"{NO_FILES_OPTION} passes such files over")
    by_source: dict[str, list[str]] = {}
    for name, source in settings.origins.items():
        where = str(source.path) if source.path else source.kind
        by_source.setdefault(where, []).append(name)
    for where, names in by_source.items():
        yield Finding("ok", "settings", f"from {where}: {', '.join(sorted(names))}")


# Processor


def _build(findings: list[Finding]) -> hardware.Build | None:
    """Ask llama.cpp about itself; that it cannot be asked is a finding."""
    try:
        return hardware.read_build()
    except (ImportError, OSError, RuntimeError) as error:
        message = f"llama.cpp does not load: {error}"
        findings.append(Finding("problem", "llama.cpp", message, REBUILD.format("")))
        return None


def _cpu(build: hardware.Build) -> Iterator[Finding]:
    built = ", ".join(sorted(build.features)) or "no special features"
    message = f"llama-cpp-python {build.version}, built with {built}"
    yield Finding("ok", "llama.cpp", message)
    yield compare_features(build.features, hardware.cpu_features(), hardware.cpu_name())


def compare_features(built: frozenset[str], present: frozenset[str] | None, cpu: str) -> Finding:
    """Judge what llama.cpp was built with by what the CPU has; None: the system does not tell."""
    if present is None:
        return Finding("ok", "processor", f"{cpu}; this system does not tell its features")
    native = REBUILD.format("-DGGML_NATIVE=ON")
    if lacking := sorted(built - present):
        message = f"llama.cpp was built with {', '.join(lacking)}, which {cpu} does not have"
        return Finding("problem", "processor", f"{message}: it will stop at once", native)
    if unused := [name for name in FAST_FEATURES if name in present - built]:
        message = f"llama.cpp was built without {', '.join(unused)} although {cpu} has it"
        return Finding("warning", "processor", message, native)
    return Finding("ok", "processor", f"{cpu}; llama.cpp uses all of its fast features")


def _threads(settings: Settings) -> Finding:
    cores = hardware.usable_cores()
    if settings.threads is None:
        return Finding("ok", "threads", f"chosen for each answer, at most {cores}")
    message = f"{settings.threads} threads for {cores} cores"
    if settings.threads > cores:
        hint = f"ASSISTANT_THREADS={cores}, or leave it to the program"
        return Finding("warning", "threads", f"{message}: far slower than one per core", hint)
    return Finding("ok", "threads", message)


def _memory(settings: Settings) -> Finding:
    available = hardware.available_memory_bytes()
    needed = _needed_memory(settings)
    if available is None or needed is None:
        return Finding("ok", "memory", "cannot be compared with what the model needs")
    message = f"{available / 1e9:.1f} GB available, {settings.model} needs {needed / 1e9:.1f} GB"
    if available < needed:
        smaller = min(
            (entry for entry in catalogue().values() if entry.role == "language"),
            key=lambda entry: (entry.memory_bytes > available, -entry.memory_bytes),
        )
        hint = f"close other programs, or choose a smaller model: --model {smaller.name}"
        return Finding("warning", "memory", message, hint)
    return Finding("ok", "memory", message)


def _needed_memory(settings: Settings) -> int | None:
    entry = catalogue().get(settings.model)
    if entry is not None:
        return entry.memory_bytes
    try:
        return resolve(settings.model, settings.models_dir).stat().st_size + CONTEXT_BYTES
    except ModelError:
        return None


# Models


def _models(settings: Settings, *, full: bool) -> Iterator[Finding]:
    for topic, name in (("model", settings.model), ("embedding model", EMBEDDING_MODEL)):
        if is_served(name):
            yield _served(settings)
        else:
            yield _model(topic, name, settings.models_dir, full=full)


def _served(settings: Settings) -> Finding:
    from assistant.llm.engines import look_at_servers

    try:
        urls = ModelAddress.parse(settings.model).urls
        found = look_at_servers(settings)
    except ModelError as error:
        return Finding("problem", "model", str(error), error.hint)
    odds = "tells" if found.likelihood else "does not tell"
    message = f"{found.name} on {', '.join(urls)}, which {odds} how likely a question is"
    return Finding("ok", "model", f"{message}; {found.slots} requests at once to each")


def _model(topic: str, name: str, models_dir: Path, *, full: bool) -> Finding:
    try:
        path = resolve(name, models_dir)
        if full:
            verify(name, models_dir)
    except ModelError as error:
        return Finding("problem", topic, str(error), error.hint)
    entry = catalogue().get(name)
    of = "" if entry is None else f", {entry.licence}"
    checked = "SHA-256 is right" if full and _has_promise(name) else "size is right"
    if not _has_promise(name):
        checked = "a file of yours, of which no hash is known"
    return Finding("ok", topic, f"{name}: {path} ({_tree_bytes(path) / 1e9:.2f} GB{of}; {checked})")


def _has_promise(name: str) -> bool:
    return name in catalogue() or name.startswith("hf:")


# GPU


def _gpu(settings: Settings, build: hardware.Build, *, full: bool) -> Iterator[Finding]:
    devices = [device for device in build.devices if device.name != "CPU"]
    for device in devices:
        size = f"{device.free_bytes / 1e9:.1f} of {device.total_bytes / 1e9:.1f} GB free"
        yield Finding("ok", "gpu", f"{device.name}: {device.description}, {size}")
    if not build.gpu_offload:
        yield without_offload(settings, build)
        if not full:
            return
    if is_served(settings.model):
        return
    try:
        path = resolve(settings.model, settings.models_dir)
    except ModelError as error:
        yield Finding("ok", "gpu", "layers are counted once the model is here", error.hint)
        return
    yield judge_offload(hardware.measure_offload(path, settings.layers), settings, build)


def without_offload(settings: Settings, build: hardware.Build) -> Finding:
    """Judge that this build of llama.cpp uses no GPU."""
    if build.gpu_backends:
        kinds = " and ".join(build.gpu_backends)
        message = f"llama.cpp is built for {kinds} but sees no such GPU: no layer is on one"
        hint = "is its driver loaded (nvidia-smi), and CUDA_VISIBLE_DEVICES unset?"
        return Finding("ok" if settings.layers == 0 else "warning", "gpu", message, hint)
    message = "this build of llama.cpp cannot offload: no layer is on a GPU"
    hint = REBUILD.format("-DGGML_NATIVE=ON -DGGML_CUDA=ON") + "  (-DGGML_METAL, -DGGML_VULKAN)"
    if settings.layers > 0:
        message = f"gpu_layers is {settings.layers}, but {message}"
        return Finding("warning", "gpu", message, hint)
    if hardware.gpu_present() and settings.layers != 0:
        return Finding("warning", "gpu", f"{message}, although there seems to be one", hint)
    return Finding("ok", "gpu", message)


def judge_offload(
    offload: hardware.Offload | None, settings: Settings, build: hardware.Build
) -> Finding:
    """Judge where the layers went; None: the model did not load."""
    if offload is None:
        message = f"llama.cpp cannot load {settings.model}"
        return Finding("problem", "model", message, f"assistant models verify {settings.model}")
    where = f" ({', '.join(offload.devices)})" if offload.devices else ""
    message = f"{offload.on_gpu} of {offload.total} layers are on a GPU{where}"
    wanted = offload.total if settings.layers < 0 else min(settings.layers, offload.total)
    if build.gpu_offload and offload.on_gpu < wanted:
        hint = "free memory of the GPU, or set ASSISTANT_GPU_LAYERS to what fits"
        return Finding("warning", "gpu", f"{message}, {wanted} were asked for", hint)
    return Finding("ok", "gpu", message)


# Index


def _index(settings: Settings, *, full: bool) -> Finding:
    place = settings.place
    if not place.exists():
        message = f"there is no index in {settings.index}"
        return Finding("problem", "index", message, "assistant ingest --seeds")
    from vectorstore.embedding import MiniLMEmbedder

    embedder = MiniLMEmbedder(settings.models_dir / EMBEDDING_MODEL)  # named, not loaded
    try:
        with place.open(embedder) as store:
            papers = len(store)
            thorough = can_write(settings.index) and (full or papers <= _COMPARED_PAPERS)
            differences = store.check() if thorough else store.check_numbers()
    except USER_ERRORS as error:
        return Finding("problem", "index", str(error), error.hint)
    return judge_index(differences, papers, place, thorough=thorough)


def judge_index(
    differences: Sequence[str], papers: int, index: Place, *, thorough: bool = True
) -> Finding:
    """Judge what the store says of itself, after it compared all papers or only their numbers."""
    if differences:
        message = f"{index} is damaged: {'; '.join(differences)}"
        return Finding("problem", "index", message, f"assistant repair {index.option}")
    if papers == 0:
        message = f"{index} holds no papers"
        return Finding("warning", "index", message, "assistant ingest --seeds")
    agree = "its parts agree" if thorough else "its parts are of the same size"
    hint = None if thorough else "assistant doctor --full compares every paper"
    return Finding("ok", "index", f"{papers:,} papers in {index}, {agree}", hint)


# Disk and network


def disk_bytes(settings: Settings) -> dict[str, int]:
    """How much each folder of the program holds, by what is in it."""
    folders = {
        "Models": settings.models_dir,
        "Papers as read": settings.states_dir,
        "Index": settings.index,
    }
    return {name: _tree_bytes(folder) for name, folder in folders.items()}


def _disk(settings: Settings) -> Iterator[Finding]:
    folders = {"models": settings.models_dir, "states": settings.states_dir}
    folders["index"] = settings.index
    for name, folder in folders.items():
        used = _tree_bytes(folder)
        yield Finding("ok", "disk", f"{name}: {used / 1e9:.2f} GB in {folder}")
    left_over = settings.models_dir / ".staging"
    if (size := _tree_bytes(left_over)) > 0:
        hint = f"finish it with assistant models pull, or remove {left_over}"
        message = f"an interrupted fetch holds {size / 1e9:.2f} GB"
        yield Finding("warning", "disk", message, hint)


def _tree_bytes(path: Path) -> int:
    """Size of a file, or of all files below a folder; 0 if there is none."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += (Path(folder) / name).lstat().st_size
            except OSError:  # removed meanwhile
                continue
    return total


def _hosts(settings: Settings) -> Iterator[Finding]:
    yield _network(settings)
    if is_served(settings.model):
        yield Finding("ok", "network", f"talks to the servers of the model: {settings.model}")
    if settings.store is not None:
        yield Finding(
            "ok", "network", f"talks to the Chroma server of the papers: {settings.store}"
        )


def _network(settings: Settings) -> Finding:
    """Which hosts the program may talk to, and when."""
    missing = [
        name
        for name in dict.fromkeys((settings.model, EMBEDDING_MODEL))
        if not is_served(name) and not _is_here(name, settings.models_dir)
    ]
    if settings.offline:
        return Finding("ok", "network", "talks to no host: offline is set")
    hosts = f"the package index that pip is set up to use{_pip_hosts()}, and the model hub"
    hosts += f" ({_hub_host()})"
    if missing:
        message = f"until {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} here, "
        return Finding("ok", "network", f"{message}to fetch models: {hosts}; no other host")
    message = "talks to no host: all models are here (assistant models pull would talk to "
    return Finding("ok", "network", f"{message}{hosts})")


def _is_here(name: str, models_dir: Path) -> bool:
    try:
        resolve(name, models_dir)
    except ModelError:
        return False
    return True


def _hub_host() -> str:
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    return urlsplit(address).hostname or address


def _pip_hosts() -> str:
    """The hosts in pip's own configuration, in parentheses; names and passwords left out."""
    command = [sys.executable, "-P", "-m", "pip", "config", "list"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    hosts = parse_pip_config(result.stdout)
    return f" ({', '.join(hosts)})" if hosts else ""


def parse_pip_config(text: str) -> list[str]:
    """Hosts of the indexes and link pages in the output of ``pip config list``, without repeats."""
    lines = re.findall(r"^\S*\.(?:extra-)?(?:index-url|find-links)='(.*)'$", text, re.MULTILINE)
    addresses = [address for line in lines for address in re.split(r"\s+|\\n", line) if address]
    hosts = [urlsplit(address).hostname or "this machine" for address in addresses]
    return list(dict.fromkeys(hosts))
