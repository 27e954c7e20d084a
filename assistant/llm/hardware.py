"""What this machine has, and what this build of llama.cpp makes of it.

Beside `llama`, which runs models, the only module that imports llama_cpp: it asks the library about
itself, and loads a model only to learn from llama.cpp's log where its layers went. It does not
judge: `doctor` does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# llama.cpp's name of a CPU feature -> the name in /proc/cpuinfo. In llama.cpp, AVX512 stands for
# the five features that every such CPU since 2017 has together.
X86_FEATURES = {
    "SSE3": "pni",
    "SSSE3": "ssse3",
    "AVX": "avx",
    "AVX_VNNI": "avx_vnni",
    "AVX2": "avx2",
    "F16C": "f16c",
    "FMA": "fma",
    "BMI2": "bmi2",
    "AVX512": "avx512f",
    "AVX512_VBMI": "avx512vbmi",
    "AVX512_VNNI": "avx512_vnni",
    "AVX512_BF16": "avx512_bf16",
    "AMX_INT8": "amx_int8",
}
ARM_FEATURES = {
    "NEON": "asimd",
    "FP16_VA": "asimdhp",
    "DOTPROD": "asimddp",
    "MATMUL_INT8": "i8mm",
    "SVE": "sve",
    "SME": "sme",
}
# Of macOS, by `sysctl`: a name of its own that is 1, or a word in a list of flags.
SYSCTL_FEATURES = {
    "NEON": "hw.optional.neon",
    "FP16_VA": "hw.optional.arm.FEAT_FP16",
    "DOTPROD": "hw.optional.arm.FEAT_DotProd",
    "MATMUL_INT8": "hw.optional.arm.FEAT_I8MM",
    "SME": "hw.optional.arm.FEAT_SME",
    "AVX": "hw.optional.avx1_0",
    "AVX2": "hw.optional.avx2_0",
    "FMA": "hw.optional.fma",
    "F16C": "hw.optional.f16c",
    "BMI2": "hw.optional.bmi2",
    "AVX512": "hw.optional.avx512f",
}
NO_LIMIT = 1 << 60
FAST_GPU_NODES = ("/dev/nvidiactl", "/dev/kfd")
GPU_BACKENDS = ("cuda", "hip", "metal", "vulkan", "sycl")


@dataclass(frozen=True, slots=True)
class Device:
    """Something that llama.cpp can compute on."""

    name: str
    description: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Build:
    """What the installed llama.cpp was built with."""

    version: str
    """Of llama-cpp-python."""
    features: frozenset[str]
    """CPU features, by llama.cpp's names (AVX2, DOTPROD, ...)."""
    gpu_offload: bool
    """Whether there is a GPU that it can use, now and here."""
    devices: tuple[Device, ...]
    gpu_backends: tuple[str, ...] = ()
    """Kinds of GPU that it was built for: cuda, hip, metal, vulkan, sycl."""


@dataclass(frozen=True, slots=True)
class Offload:
    """Where the layers of a model went when it was loaded; the output layer counts as one."""

    on_gpu: int
    total: int
    devices: tuple[str, ...]
    """Names of the devices other than the CPU that hold layers."""


# llama.cpp


def read_build() -> Build:
    """Ask llama.cpp what it was built with.

    Raises:
        ImportError: llama-cpp-python is not installed.
        OSError: Its library does not load.
    """
    import llama_cpp

    information = llama_cpp.llama_print_system_info().decode()
    libraries = Path(llama_cpp.__file__).parent / "lib"
    return Build(
        version=llama_cpp.__version__,
        features=parse_features(information),
        gpu_offload=bool(llama_cpp.llama_supports_gpu_offload()),
        devices=_devices(libraries),
        gpu_backends=tuple(each for each in GPU_BACKENDS if _path(libraries, f"ggml-{each}")),
    )


def parse_features(information: str) -> frozenset[str]:
    """The CPU features in llama.cpp's system information (``CPU : AVX = 1 | AVX2 = 0 | ...``)."""
    known = X86_FEATURES.keys() | ARM_FEATURES.keys()
    found = re.findall(r"(\w+) = 1\b", information)
    return frozenset(name for name in found if name in known)


def _devices(folder: Path) -> tuple[Device, ...]:
    """The devices, from ggml's own libraries, since llama_cpp has no binding for them."""
    registry, base = _library(folder, "ggml"), _library(folder, "ggml-base")
    if registry is None or base is None:
        return ()
    registry.ggml_backend_dev_count.restype = ctypes.c_size_t
    registry.ggml_backend_dev_get.restype = ctypes.c_void_p
    registry.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    handles = [registry.ggml_backend_dev_get(n) for n in range(registry.ggml_backend_dev_count())]
    return tuple(_device(base, handle) for handle in handles)


def _library(folder: Path, name: str) -> Any:
    path = _path(folder, name)
    return None if path is None else ctypes.CDLL(str(path))


def _path(folder: Path, name: str) -> Path | None:
    names = (f"lib{name}.so", f"lib{name}.dylib", f"{name}.dll")
    return next((folder / each for each in names if (folder / each).is_file()), None)


def _device(base: Any, handle: int) -> Device:
    for function in (base.ggml_backend_dev_name, base.ggml_backend_dev_description):
        function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    size = ctypes.POINTER(ctypes.c_size_t)
    base.ggml_backend_dev_memory.restype = None
    base.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, size, size]
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    base.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
    return Device(
        name=base.ggml_backend_dev_name(handle).decode("utf-8", "replace"),
        description=base.ggml_backend_dev_description(handle).decode("utf-8", "replace").strip(),
        free_bytes=free.value,
        total_bytes=total.value,
    )


def measure_offload(path: Path, gpu_layers: int) -> Offload | None:
    """Load a model as the program would and read from llama.cpp's log where its layers went.

    Args:
        path: GGUF file.
        gpu_layers: Layers to offload; -1 is all.

    Returns:
        The placement; None if llama.cpp cannot load the file.
    """
    import llama_cpp

    llama_cpp.llama_backend_init()
    parameters = llama_cpp.llama_model_default_params()
    parameters.n_gpu_layers = 999 if gpu_layers < 0 else gpu_layers
    with captured_log() as lines:
        model = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
        if not model:
            return None
        layers = llama_cpp.llama_model_n_layer(model) + 1
        llama_cpp.llama_model_free(model)
    return parse_offload("".join(lines), layers)


def parse_offload(log: str, layers: int) -> Offload:
    """Read the placement of `layers` layers from the log of loading a model.

    A build without offload says nothing of it: then no layer is on a GPU.
    """
    places = dict(re.findall(r"layer\s+(\d+) assigned to device ([^\s,]+)", log))
    devices = sorted({device for device in places.values() if device != "CPU"})
    said = re.search(r"offloaded (\d+)/(\d+) layers to GPU", log)
    if said:
        return Offload(int(said[1]), int(said[2]), tuple(devices))
    placed = sum(device != "CPU" for device in places.values())
    return Offload(placed, len(places) or layers, tuple(devices))


@contextlib.contextmanager
def captured_log() -> Iterator[list[str]]:
    """Collect what llama.cpp logs within the block; afterwards its log goes where it went."""
    import llama_cpp

    lines: list[str] = []
    previous, data = llama_cpp.llama_log_callback(), ctypes.c_void_p()
    llama_cpp.llama_log_get(ctypes.byref(previous), ctypes.byref(data))

    def receive(_level: int, text: bytes, _data: object) -> None:
        lines.append(text.decode("utf-8", "replace"))

    callback = llama_cpp.llama_log_callback(receive)  # must live as long as the block
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    try:
        yield lines
    finally:
        llama_cpp.llama_log_set(previous, data)


# This machine


def cpu_features() -> frozenset[str] | None:
    """The features of this CPU by llama.cpp's names; None where the system does not tell."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        return parse_cpuinfo(information.read_text(encoding="utf-8", errors="replace"))
    if sys.platform == "darwin":
        return frozenset(name for name, key in SYSCTL_FEATURES.items() if _sysctl(key) == "1")
    return None


def parse_cpuinfo(text: str) -> frozenset[str] | None:
    """The features in a text of the form of /proc/cpuinfo; None if it has no such line."""
    line = re.search(r"^(flags|Features)\s*:(.*)$", text, re.MULTILINE)
    if line is None:
        return None
    table = X86_FEATURES if line[1] == "flags" else ARM_FEATURES
    flags = set(line[2].split())
    return frozenset(name for name, flag in table.items() if flag in flags)


def cpu_name() -> str:
    """Model of this CPU, as the system calls it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        text = information.read_text(encoding="utf-8", errors="replace")
        if line := re.search(r"^model name\s*:(.*)$", text, re.MULTILINE):
            return line[1].strip()
    if sys.platform == "darwin" and (name := _sysctl("machdep.cpu.brand_string")):
        return name
    return platform.processor() or platform.machine()


def _sysctl(key: str) -> str:
    command = ["/usr/sbin/sysctl", "-n", key]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip()


def usable_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def gpu_present() -> bool:
    """Whether the system shows a GPU that some build of llama.cpp could use."""
    nodes = ("/dev/nvidiactl", "/dev/kfd", "/dev/dri/renderD128")
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return apple or any(Path(node).exists() for node in nodes)


def gpu_unused() -> bool:
    """Whether there is a GPU much faster than the processor that llama.cpp cannot use."""
    import llama_cpp

    there = any(Path(node).exists() for node in FAST_GPU_NODES)
    return there and not llama_cpp.llama_supports_gpu_offload()


def available_memory_bytes() -> int | None:
    """Memory that a new process could take without swapping; None where the system does not tell.

    The limit of a container counts.
    """
    free = _free_memory()
    limit = _container_memory()
    if free is None:
        return limit
    return free if limit is None else min(free, limit)


def _free_memory() -> int | None:
    information = Path("/proc/meminfo")
    if information.is_file():
        line = re.search(r"^MemAvailable:\s+(\d+) kB", information.read_text(), re.MULTILINE)
        if line:
            return int(line[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _container_memory(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container's limit leaves (cgroup 2, then 1); None without a limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            most = int((folder / limit).read_text())
            if most < NO_LIMIT:
                return max(0, most - int((folder / used).read_text()))
    return None
