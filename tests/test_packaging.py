"""What a user installs: the wheel, and the locks that go with it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bootstrap.lock import BUILT_HERE, entries

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("run", "llama", "build", "dev")
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def _lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def _pins(name: str) -> Iterator[Requirement]:
    """Yield the requirements of a lock, without their hashes."""
    for entry in entries(_lock(name)):
        yield Requirement(entry.partition("\\\n")[0].strip())


def _version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "==", pin
    return specifier.version


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [*_PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", folder, ROOT], check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_every_module_and_every_data_file(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "assistant", "vectorstore", "prompts", "seeds"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    inside_package = re.compile(r"^(?=(prompts|seeds)/)")
    wanted = {inside_package.sub("assistant/", name) for name in tracked}
    assert {"assistant/seeds/huggingface_papers.txt", "assistant/model_files/models.toml"} <= wanted
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_claims_no_import_name_but_ours(wheel: Path) -> None:
    roots = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {root for root in roots if not root.endswith(".dist-info")} == {
        "assistant",
        "vectorstore",
    }


def test_the_wheel_installs_and_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    command = [*_PIP, "install", "--quiet", "--no-deps", "--no-index", "--target"]
    subprocess.run([*command, target, wheel], check=True)
    code = (
        "from assistant.resources import resource\n"
        "for name in ('prompts', 'seeds/huggingface_papers.txt', 'model_files/models.toml'):\n"
        "    print(resource(name))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],  # -P and another folder: not what lies in the checkout
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert len(paths) == 3
    assert all(path.is_relative_to(target / "assistant") for path in paths)
    (script,) = (target / "bin").glob("assistant*")
    assert script.stat().st_size > 0


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_package_and_hashes_every_file(name: str) -> None:
    assert entries(_lock(name)), "empty"
    assert "".join(entries(_lock(name))) == _lock(name)
    for entry in entries(_lock(name)):
        pin, *hashes = entry.split("\\\n")
        _version(Requirement(pin.strip()))
        assert hashes, pin
        for line in hashes:
            assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line.strip()), line


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_host(name: str) -> None:
    text = re.sub(r"--hash=\S+", "", _lock(name))
    assert not re.search(r"://|file:|@|index-url|find-links|\.(org|com|io|net)\b", text)


def test_the_locks_pin_one_version_of_a_package() -> None:
    versions: dict[tuple[str, str], set[str]] = {}
    for name in LOCKS:
        for pin in _pins(name):
            versions.setdefault((pin.name, str(pin.marker or "")), set()).add(_version(pin))
    assert {key: found for key, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("run", PYPROJECT["project"]["dependencies"]),
        ("build", PYPROJECT["dependency-groups"]["build"]),
        ("dev", PYPROJECT["dependency-groups"]["dev"]),
        ("build", PYPROJECT["build-system"]["requires"]),
    ],
    ids=["run", "build", "dev", "build-system"],
)
def test_the_locks_meet_what_pyproject_asks_for(lock: str, requirements: list[str]) -> None:
    locks = (lock, "llama") if lock == "run" else (lock,)
    pins: dict[str, list[str]] = {}
    for name in locks:
        for pin in _pins(name):
            pins.setdefault(canonicalize_name(pin.name), []).append(_version(pin))
    for text in requirements:
        requirement = Requirement(text)
        versions = pins.get(canonicalize_name(requirement.name), [])
        assert versions, f"{text} is not locked; run `make lock`"
        assert all(map(requirement.specifier.contains, versions)), f"{text}; run `make lock`"


def test_what_is_built_here_is_locked_as_source_and_apart() -> None:
    (entry,) = entries(_lock("llama"))
    assert entry.startswith(f"{BUILT_HERE}==")
    assert entry.count("--hash=") == 1
    assert BUILT_HERE not in _lock("run")


def test_every_import_of_the_program_is_a_declared_dependency() -> None:
    """A package that comes along with another one today may be gone tomorrow."""
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    declared = {
        canonicalize_name(Requirement(text).name)
        for texts in (PYPROJECT["project"]["dependencies"], *extras)
        for text in texts
    }
    distributions = metadata.packages_distributions()
    undeclared = {
        f"{path.name}: {name}"
        for package in ("assistant", "vectorstore")
        for path in (ROOT / package).rglob("*.py")
        for name in _foreign_imports(path)
        if not declared & {canonicalize_name(found) for found in distributions.get(name, [])}
    }
    assert undeclared == set()


def _foreign_imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    # compression: in the standard library since Python 3.14.
    return names - set(sys.stdlib_module_names) - {"assistant", "vectorstore", "compression"}
