"""A collection as one file, to be carried elsewhere: papers, chunks, vectors, and a hash of each.

A ZIP file (APPNOTE.TXT 6.3, with 64-bit sizes). Papers are JSON Lines, compressed; vectors are
.npy (NumPy format 1.0), stored as they are. Both come in parts of a bounded size, and the manifest,
which says how large each part is and what its SHA-256 is, is the last member. So one part at a time
is in memory, written or read, and a file that was cut short has no manifest.

Nothing of a file is believed before it has been compared: see ``ArchiveReader``. Knows nothing of
indexes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vectorstore.errors import ArchiveError
from vectorstore.sources.fields import FieldError, checked_paper, fields_of
from vectorstore.types import Paper

ARCHIVE_FORMAT: Final = "abstract-assistant collection"
ARCHIVE_VERSION = 1
"""Raise when an older program could not read what this one writes."""

MANIFEST = "manifest.json"
MAX_PART_BYTES = 128_000_000
"""Largest member that is read, so that no file decides how much memory is taken."""

Spans = tuple[tuple[int, int], ...]
Item = tuple[Paper, Spans, NDArray[np.float32]]
"""A paper, the character offsets of its chunks, and their vectors, (len(spans), dimension)."""

_MAX_MANIFEST_BYTES = 32_000_000
_PART_TEXT_BYTES = 16_000_000
_PART_VECTOR_BYTES = 32_000_000
# All members have the same time, so that the same collection gives the same file.
_TIME = (1980, 1, 1, 0, 0, 0)
_NORM_TOLERANCE = 1e-3
_HINT = "it is damaged or was changed; get it again"


class Member(BaseModel):
    """One part of an archive."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    bytes: int = Field(ge=0, le=MAX_PART_BYTES)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ArchiveManifest(BaseModel):
    """What an archive says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal["abstract-assistant collection"] = ARCHIVE_FORMAT
    version: int = ARCHIVE_VERSION
    name: str = Field(max_length=200)
    """Of the collection that it was made of."""
    created_with: str = Field(max_length=200)
    embedder: str = Field(max_length=200)
    dimension: int = Field(ge=1, le=100_000)
    chunking_version: int
    papers: int = Field(ge=0)
    chunks: int = Field(ge=0)
    members: list[Member]


def write_archive(
    path: Path, items: Iterable[Item], description: Mapping[str, Any]
) -> ArchiveManifest:
    """Write an archive, whole or not at all.

    Args:
        path: Of the file; one that is there is replaced.
        items: Read as a stream.
        description: The fields of the manifest that are known before.

    Raises:
        ArchiveError: If the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with _writing(path), temporary.open("wb") as file:
            manifest = _write(file, items, description)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return manifest


def _write(
    file: io.BufferedWriter, items: Iterable[Item], description: Mapping[str, Any]
) -> ArchiveManifest:
    members: list[Member] = []
    papers = chunks = 0
    dimension = int(description["dimension"])
    with zipfile.ZipFile(file, "w") as archive:

        def add(name: str, data: bytes, compression: int) -> None:
            info = zipfile.ZipInfo(name, _TIME)
            info.compress_type, info.external_attr = compression, 0o644 << 16
            archive.writestr(info, data)
            members.append(
                Member(name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            )

        for number, (text, vectors) in enumerate(_parts(items, dimension)):
            papers += text.count(b"\n")
            chunks += len(vectors)
            add(f"papers/{number:06}.jsonl", text, zipfile.ZIP_DEFLATED)
            add(f"vectors/{number:06}.npy", _npy(vectors), zipfile.ZIP_STORED)
        manifest = ArchiveManifest(papers=papers, chunks=chunks, members=members, **description)
        data = manifest.model_dump_json(indent=1).encode() + b"\n"
        add(MANIFEST, data, zipfile.ZIP_DEFLATED)
    return manifest


def _parts(items: Iterable[Item], dimension: int) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
    lines: list[bytes] = []
    vectors: list[NDArray[np.float32]] = []
    text_bytes = vector_bytes = 0
    for paper, spans, own in items:
        line = _line(paper, spans)
        is_full = text_bytes + len(line) > _PART_TEXT_BYTES
        if lines and (is_full or vector_bytes + own.nbytes > _PART_VECTOR_BYTES):
            yield b"".join(lines), np.concatenate(vectors)
            lines, vectors, text_bytes, vector_bytes = [], [], 0, 0
        lines.append(line)
        vectors.append(np.asarray(own, np.float32).reshape(-1, dimension))
        text_bytes += len(line)
        vector_bytes += own.nbytes
    if lines:
        yield b"".join(lines), np.concatenate(vectors)


def _line(paper: Paper, spans: Spans) -> bytes:
    value = {"paper": fields_of(paper), "spans": spans}
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _npy(vectors: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    array = np.ascontiguousarray(vectors, "<f4")
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"cannot be written ({(error.strerror or str(error)).lower()})"
        hint = "choose another place: assistant collections export NAME FILE"
        raise ArchiveError(reason, path=path, hint=hint) from error


class ArchiveReader:
    """An archive that is read part by part, each checked before anything of it is handed out.

    What is checked: the members are those of the manifest, in order and no others; each has the
    size and SHA-256 that the manifest says, and no more is unpacked than that; papers are such as
    an ingest takes; chunks lie in their abstracts; vectors are as many as chunks, finite, of
    norm 1; the numbers of papers and chunks are those of the manifest. No member becomes a file,
    whatever its name.
    """

    def __init__(self, path: Path) -> None:
        """Open an archive and check its list of contents.

        Raises:
            ArchiveError: If it cannot be read, or is not an archive of a collection.
        """
        self._path = path
        with self._reading():
            self._archive = zipfile.ZipFile(path)
        try:
            with self._reading():
                self.manifest = self._read_manifest()
                self._check_members()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._archive.close()

    def __enter__(self) -> Self:
        """Return the reader, to be closed at the end of the block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the file."""
        self.close()

    @property
    def unpacked_bytes(self) -> int:
        """What all members have together."""
        return sum(member.bytes for member in self.manifest.members)

    def items(self) -> Iterator[Item]:
        """Yield papers with their chunks and vectors, in the order of the archive.

        Raises:
            ArchiveError: At the first thing that is not as it must be.
        """
        papers = chunks = 0
        members = iter(self.manifest.members)
        for texts, arrays in zip(members, members, strict=True):
            with self._reading():
                rows = [self._row(line) for line in self._lines(texts)]
                vectors = self._vectors(arrays, sum(len(spans) for _, spans in rows))
            start = 0
            for paper, spans in rows:
                yield paper, spans, vectors[start : start + len(spans)]
                start += len(spans)
            papers += len(rows)
            chunks += start
        found, said = (papers, chunks), (self.manifest.papers, self.manifest.chunks)
        if found != said:
            raise self._error(f"holds {found} papers and chunks; its manifest says {said}")

    def _read_manifest(self) -> ArchiveManifest:
        names = self._archive.namelist()
        if MANIFEST not in names:
            raise self._error("it has no manifest: not a collection, or cut short")
        data = self._unpacked(self._archive.getinfo(MANIFEST), _MAX_MANIFEST_BYTES)
        fields = json.loads(data)
        if not isinstance(fields, dict) or fields.get("format") != ARCHIVE_FORMAT:
            raise self._error("it is not an archive of a collection")
        if fields.get("version") != ARCHIVE_VERSION:
            reason = (
                f"its format is {fields.get('version')!r}, this program reads {ARCHIVE_VERSION}"
            )
            raise ArchiveError(reason, path=self._path, hint="use the program that wrote it")
        return ArchiveManifest.model_validate_json(data)

    def _check_members(self) -> None:
        said = [member.name for member in self.manifest.members]
        wanted = [
            name
            for number in range(len(said) // 2)
            for name in (f"papers/{number:06}.jsonl", f"vectors/{number:06}.npy")
        ]
        if said != wanted or self._archive.namelist() != [*wanted, MANIFEST]:
            raise self._error("its members are not those of its manifest")

    def _lines(self, member: Member) -> list[bytes]:
        return self._member(member).splitlines()

    def _member(self, member: Member) -> bytes:
        data = self._unpacked(self._archive.getinfo(member.name), member.bytes)
        if len(data) != member.bytes or hashlib.sha256(data).hexdigest() != member.sha256:
            raise self._error(f"{member.name} is not what the manifest says")
        return data

    def _unpacked(self, info: zipfile.ZipInfo, most: int) -> bytes:
        """Unpack a member, but never more than was promised."""
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self._error(f"{info.filename} is packed in a way that is not read")
        with self._archive.open(info) as stream:
            data = stream.read(most + 1)
        if len(data) > most:
            raise self._error(f"{info.filename} is larger than it may be")
        return data

    def _row(self, line: bytes) -> tuple[Paper, Spans]:
        value = json.loads(line)
        if not isinstance(value, dict) or value.keys() != {"paper", "spans"}:
            raise self._error("a line is not a paper with its chunks")
        try:
            paper = checked_paper(value["paper"])
        except FieldError as error:
            raise self._error(f"a paper is none: {error.reason}") from error
        return paper, self._spans(value["spans"], paper)

    def _spans(self, value: object, paper: Paper) -> Spans:
        if not isinstance(value, list) or not all(_is_span(each, paper) for each in value):
            raise self._error(f"the chunks of {paper.id} are not in its abstract")
        return tuple((start, end) for start, end in value)

    def _vectors(self, member: Member, count: int) -> NDArray[np.float32]:
        """Return an array of shape (count, dimension)."""
        data = self._member(member)
        buffer = io.BytesIO(data)
        if np.lib.format.read_magic(buffer) != (1, 0):
            raise self._error(f"{member.name} is not an array of format 1.0")
        header = np.lib.format.read_array_header_1_0(buffer)
        # An array of objects would be a pickle. The size is compared before any memory is taken.
        wanted = ((count, self.manifest.dimension), False, np.dtype("<f4"))
        if header != wanted:
            raise self._error(f"{member.name} is {header}, not {wanted}")
        flat = np.frombuffer(data, "<f4", offset=buffer.tell())
        if flat.size != count * self.manifest.dimension:
            raise self._error(f"{member.name} has {flat.size} numbers, not those of its header")
        vectors = flat.reshape(wanted[0]).astype(np.float32, copy=False)
        with np.errstate(all="ignore"):
            norms = np.linalg.norm(vectors, axis=1)
        # What is not a number compares as false.
        if not np.all(np.abs(norms - 1) <= _NORM_TOLERANCE):
            raise self._error(f"{member.name} has vectors that are not of norm 1")
        return vectors

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn what the libraries say about the file into the error for the user."""
        try:
            yield
        except ArchiveError:
            raise
        except zipfile.BadZipFile as error:
            raise self._error(f"it is not a ZIP file, or a damaged one ({error})") from error
        except OSError as error:
            reason = f"cannot be read ({(error.strerror or str(error)).lower()})"
            raise ArchiveError(reason, path=self._path, hint="check the path") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise self._error(f"its manifest is none ({where}: {first['msg']})") from error
        # zlib has an error of its own, an encrypted member is a RuntimeError, SyntaxError and the
        # others come from headers and lines that are none.
        except Exception as error:
            raise self._error(f"it cannot be read ({error})") from error

    def _error(self, reason: str) -> ArchiveError:
        return ArchiveError(reason, path=self._path, hint=_HINT)


def _is_span(value: object, paper: Paper) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    start, end = value
    if type(start) is not int or type(end) is not int:
        return False
    return 0 <= start < end <= len(paper.abstract)
