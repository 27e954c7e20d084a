"""Doctor: what is broken is found and named with its remedy; what is well is not complained of."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant import doctor
from assistant.llm import hardware
from assistant.llm.engines import open_engine
from assistant.llm.prompts import load_prompts
from assistant.model_files.catalogue import catalogue
from assistant.model_files.models import pull
from assistant.resources import resource
from assistant.settings import DEFAULT_MODEL, EMBEDDING_MODEL, Settings, load_settings
from vectorstore import Paper
from vectorstore.embedding import MiniLMEmbedder
from vectorstore.places import FolderPlace
from vectorstore.store import Store

SMALL = "smollm2-135m-instruct-q4_1"
FAST = frozenset(doctor.FAST_FEATURES)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder that holds the small model, and not the embedding model."""
    folder = tmp_path_factory.mktemp("models")
    pull(SMALL, folder)
    return folder


def settings_for(tmp_path: Path, **chosen: Any) -> Settings:
    names = ("index", "models_dir", "states_dir")
    folders: dict[str, Any] = {name: tmp_path / name for name in names}
    return load_settings(**{**folders, **chosen})


def by_topic(findings: list[doctor.Finding], topic: str) -> list[doctor.Finding]:
    return [finding for finding in findings if finding.topic == topic]


# The whole examination


def test_on_an_empty_machine_every_problem_names_its_remedy(tmp_path: Path) -> None:
    findings = doctor.examine(settings_for(tmp_path))
    problems = doctor.problems(findings)
    assert {finding.topic for finding in problems} == {"model", "embedding model", "index"}
    assert all(finding.hint for finding in problems)
    hints = [finding.hint for finding in problems]
    assert f"assistant models pull {DEFAULT_MODEL}" in hints
    assert f"assistant models pull {EMBEDDING_MODEL}" in hints
    assert list(tmp_path.iterdir()) == []  # it looked, and made nothing


def test_a_model_that_is_here_is_hashed_and_its_layers_are_counted(
    tmp_path: Path, small_model: Path
) -> None:
    findings = doctor.examine(
        settings_for(tmp_path, model=SMALL, models_dir=small_model, gpu_layers=0), full=True
    )
    (model,) = by_topic(findings, "model")
    assert model.level == "ok"
    assert "SHA-256 is right" in model.message
    assert "0 of 31 layers are on a GPU" in [
        finding.message for finding in by_topic(findings, "gpu")
    ]


def test_a_damaged_model_is_a_problem_only_the_full_examination_can_see(
    tmp_path: Path, small_model: Path
) -> None:
    source = small_model / SMALL / catalogue()[SMALL].files[0].name
    copy = tmp_path / "models_dir" / SMALL / source.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(source.read_bytes())
    with copy.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    settings = settings_for(tmp_path, model=SMALL)
    (quick,) = by_topic(doctor.examine(settings), "model")
    (full,) = by_topic(doctor.examine(settings, full=True), "model")
    assert quick.level == "ok"
    assert "size is right" in quick.message
    assert full.level == "problem"
    assert full.hint == f"assistant models pull {SMALL}"


def test_a_model_that_llama_cpp_cannot_load_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(8))
    findings = doctor.examine(settings_for(tmp_path, model=str(path)), full=True)
    complaints = [finding.message for finding in doctor.problems(findings)]
    assert f"llama.cpp cannot load {path}" in complaints


def test_more_threads_than_cores_and_an_interrupted_fetch_are_warnings(tmp_path: Path) -> None:
    left_over = tmp_path / "models_dir" / ".staging" / "tiny"
    left_over.mkdir(parents=True)
    (left_over / "part").write_bytes(b"x" * 1000)
    findings = doctor.examine(settings_for(tmp_path, threads=512))
    warnings = {finding.topic for finding in findings if finding.level == "warning"}
    assert {"threads", "disk"} <= warnings


# Processor


def test_a_build_that_fits_the_processor_is_well() -> None:
    assert doctor.compare_features(FAST, FAST, "cpu").level == "ok"


@given(
    built=st.frozensets(st.sampled_from(sorted(FAST))),
    present=st.frozensets(st.sampled_from(sorted(FAST))),
)
def test_the_verdict_names_exactly_the_features_that_differ(
    built: frozenset[str], present: frozenset[str]
) -> None:
    finding = doctor.compare_features(built, present, "this CPU")
    fatal, unused = built - present, present - built
    expected = "problem" if fatal else "warning" if unused else "ok"
    assert finding.level == expected
    named = set(finding.message.replace(",", " ").split()) & FAST
    assert named == (fatal or unused)
    assert (finding.hint is None) == (expected == "ok")


def test_this_build_does_not_need_what_this_processor_lacks() -> None:
    built, present = hardware.read_build(), hardware.cpu_features()
    assert built.features
    assert present is None or built.features <= present


def test_features_are_read_from_llama_cpp_and_from_the_system() -> None:
    said = "CUDA : ARCHS = 890 | CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 0 | LLAMAFILE = 1 | "
    assert hardware.parse_features(said) == {"SSE3", "AVX2"}
    x86 = "processor\t: 0\nflags\t\t: fpu pni avx avx2 avx512f amx_int8\n"
    assert set(hardware.parse_cpuinfo(x86) or ()) == {"SSE3", "AVX", "AVX2", "AVX512", "AMX_INT8"}
    arm = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp i8mm\n"
    assert set(hardware.parse_cpuinfo(arm) or ()) == {"NEON", "FP16_VA", "DOTPROD", "MATMUL_INT8"}
    assert hardware.parse_cpuinfo("processor : 0\n") is None


def test_the_memory_of_a_container_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert hardware._container_memory(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware._container_memory(tmp_path) is None


def test_too_little_memory_recommends_a_model_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "available_memory_bytes", lambda: 10**9)
    (finding,) = by_topic(doctor.examine(settings_for(tmp_path)), "memory")
    assert finding.level == "warning"
    assert finding.hint is not None
    assert finding.hint.endswith("--model qwen2.5-coder-0.5b-instruct-q4_k_m")


# GPU


LOG = """load_tensors: layer   0 assigned to device CPU, is_swa = 0
load_tensors: layer   1 assigned to device CUDA0, is_swa = 0
load_tensors: layer   2 assigned to device CUDA0, is_swa = 0
"""
GPU_BUILD = hardware.Build("0", FAST, gpu_offload=True, devices=())


def test_layers_are_counted_where_llama_cpp_says_they_went() -> None:
    offloaded = hardware.parse_offload(LOG + "load_tensors: offloaded 2/3 layers to GPU\n", 3)
    assert offloaded == hardware.Offload(2, 3, ("CUDA0",))
    assert hardware.parse_offload(LOG, 3) == hardware.Offload(2, 3, ("CUDA0",))
    assert hardware.parse_offload("", 31) == hardware.Offload(0, 31, ())


@pytest.mark.parametrize(
    ("layers", "on_gpu", "level"),
    [("auto", 3, "ok"), ("auto", 2, "warning"), (2, 2, "ok"), (99, 3, "ok"), (1, 0, "warning")],
)
def test_fewer_layers_on_the_gpu_than_asked_for_is_a_warning(
    tmp_path: Path, layers: int | str, on_gpu: int, level: str
) -> None:
    settings = settings_for(tmp_path, gpu_layers=layers)
    finding = doctor.judge_offload(hardware.Offload(on_gpu, 3, ()), settings, GPU_BUILD)
    assert finding.level == level
    assert f"{on_gpu} of 3 layers" in finding.message


def test_layers_asked_for_that_this_build_cannot_offload_are_a_warning(tmp_path: Path) -> None:
    build = hardware.Build("0", FAST, gpu_offload=False, devices=())
    finding = doctor.without_offload(settings_for(tmp_path, gpu_layers=10), build)
    assert finding.level == "warning"
    assert "cannot offload" in finding.message
    assert "GGML_CUDA" in str(finding.hint)


@pytest.mark.parametrize(("layers", "level"), [("auto", "warning"), (0, "ok")])
def test_a_build_for_gpus_that_sees_none_is_not_to_be_built_again(
    tmp_path: Path, layers: int | str, level: str
) -> None:
    build = hardware.Build("0", FAST, gpu_offload=False, devices=(), gpu_backends=("cuda",))
    finding = doctor.without_offload(settings_for(tmp_path, gpu_layers=layers), build)
    assert finding.level == level
    assert "built for cuda but sees no such GPU" in finding.message
    assert "pip install" not in str(finding.hint)


def test_the_processor_is_among_the_devices() -> None:
    assert "CPU" in [device.name for device in hardware.read_build().devices]


def test_the_log_goes_back_to_where_it_went(small_model: Path, capfd: Any) -> None:
    path = small_model / SMALL / catalogue()[SMALL].files[0].name
    with hardware.captured_log() as outer:
        assert hardware.measure_offload(path, 0) == hardware.Offload(0, 31, ())
        inner_lines = len(outer)
        hardware.measure_offload(Path("/nothing.gguf"), 0)
        assert len(outer) == inner_lines == 0
        import llama_cpp

        llama_cpp.llama_model_load_from_file(
            b"/nothing.gguf", llama_cpp.llama_model_default_params()
        )
    assert any("nothing.gguf" in line for line in outer)
    assert "nothing.gguf" not in capfd.readouterr().err


# Index


def test_the_parts_of_a_real_index_are_compared(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = settings_for(tmp_path)
    embedder = MiniLMEmbedder(pull(EMBEDDING_MODEL, settings.models_dir))
    with Store.create(settings.index, embedder) as store:
        store.ingest([Paper("one", "A title", "An abstract."), Paper("two", "Another", "More.")])
    (sound,) = by_topic(doctor.examine(settings), "index")
    assert (sound.level, sound.hint) == ("ok", None)
    assert "2 papers" in sound.message
    for part in settings.index.iterdir():
        if part.is_dir():
            part.rename(tmp_path_factory.mktemp("away") / part.name)
    (damaged,) = by_topic(doctor.examine(settings), "index")
    assert damaged.level == "problem"
    assert str(damaged.hint).startswith("assistant repair --index")


def test_a_folder_that_holds_something_else_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "letter.txt").write_text("Dear reader")
    (finding,) = by_topic(doctor.examine(settings_for(tmp_path)), "index")
    assert finding.level == "problem"
    assert finding.hint


def test_an_index_is_judged_by_what_the_store_says_of_itself(tmp_path: Path) -> None:
    assert doctor.judge_index([], 68, FolderPlace(tmp_path)).level == "ok"
    assert doctor.judge_index([], 0, FolderPlace(tmp_path)).level == "warning"
    damaged = doctor.judge_index(["3 chunks without a vector"], 68, FolderPlace(tmp_path))
    assert damaged.level == "problem"
    assert "3 chunks without a vector" in damaged.message
    assert damaged.hint


# Network


def test_with_all_models_here_or_offline_it_talks_to_no_host(tmp_path: Path) -> None:
    (offline,) = by_topic(doctor.examine(settings_for(tmp_path, offline=True)), "network")
    assert offline.message == "talks to no host: offline is set"
    (online,) = by_topic(doctor.examine(settings_for(tmp_path)), "network")
    assert EMBEDDING_MODEL in online.message
    assert "package index" in online.message
    assert "model hub" in online.message


def test_hosts_of_pip_are_told_without_names_and_passwords() -> None:
    configured = (
        ":env:.timeout='60'\n"
        "global.index-url='https://someone:secret@mirror.example:8443/simple'\n"
        "global.extra-index-url='https://second.example/simple https://mirror.example/simple'\n"
        "install.find-links='/srv/wheels'\n"
    )
    hosts = doctor.parse_pip_config(configured)
    assert hosts == ["mirror.example", "second.example", "this machine"]


def test_without_pip_the_packages_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "pip" else version(name))
    warnings = [finding for finding in doctor._packages() if finding.level == "warning"]
    assert [finding.hint for finding in warnings] == [f"{sys.executable} -m ensurepip"]


@pytest.mark.parametrize("layers", ["auto", 0])
def test_a_gpu_is_never_left_idle_in_silence(
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    layers: int | str,
) -> None:
    monkeypatch.setattr(hardware, "FAST_GPU_NODES", (str(tmp_path),))
    settings = settings_for(tmp_path, gpu_layers=layers).model_copy(
        update={"model": SMALL, "models_dir": small_model}
    )
    open_engine(settings, load_prompts(resource("prompts/answer.toml"))).close()
    idle = not hardware.read_build().gpu_offload
    assert ("there is a GPU" in caplog.text) == (idle and layers != 0)
