"""Bytes as they were before gzip or Zstandard, bounded: what one record may take is limited.

Knows nothing of formats. Compression is told by its first bytes, never by a name.
"""

from __future__ import annotations

import gzip
import io
import math
import sys
import zlib
from typing import Any, BinaryIO

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError, ZstdFile
else:
    from backports.zstd import ZstdError, ZstdFile

SUFFIXES = (".gz", ".zst")
MAX_RECORD_BYTES = 256 * 1024 * 1024
"""Most bytes from one record to the next. A JSON list is read whole, and so is one record."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class UnreadableError(Exception):
    """A stream cannot be read any further; what was read before is right."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


class RecordStream(io.RawIOBase):
    """The bytes of a stream without its compression, so many at most between two records."""

    def __init__(self, stream: BinaryIO, limit: float = MAX_RECORD_BYTES) -> None:
        """Wrap a stream, which stays open when this is closed.

        Args:
            stream: Compressed or not, at its beginning.
            limit: Most bytes that are read before ``begin_record``; ``math.inf`` for a format that
                bounds its own records.
        """
        buffered = io.BufferedReader(stream) if isinstance(stream, io.RawIOBase) else stream
        head = _peek(buffered)
        self.is_compressed = head.startswith((_GZIP, _ZSTD))
        if head.startswith(_GZIP):
            # Not closed: that would be left to the owner of the stream.
            self._source: BinaryIO = gzip.GzipFile(fileobj=buffered)  # type: ignore[assignment]
        elif head.startswith(_ZSTD):
            self._source = ZstdFile(buffered)  # type: ignore[assignment]
        else:
            self._source = buffered
        self._read = getattr(self._source, "read1", self._source.read)
        self._limit = limit
        self._taken = 0
        self._ahead = b""

    def head(self, size: int) -> bytes:
        """Look at the beginning: the first line that is not blank, or so many bytes of it.

        Raises:
            UnreadableError: As ``readinto``.
        """
        head = b""
        while len(head) < size and b"\n" not in head.lstrip(b"\xef\xbb\xbf \t\r\n"):
            more = self.read(size)
            if not more:
                break
            head += more
        self._ahead = head
        return head

    def begin_record(self) -> None:
        """Start to count anew."""
        self._taken = 0

    def lift_limit(self) -> None:
        """Read as much as there is: what follows goes to a file, or has bounds of its own."""
        self._limit = math.inf

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read as ``io.RawIOBase`` does.

        Raises:
            UnreadableError: If the compressed data is cut off or damaged, or a record too long.
        """
        view = memoryview(buffer).cast("B")
        if self._ahead:
            data, self._ahead = self._ahead[: len(view)], self._ahead[len(view) :]
            view[: len(data)] = data
            return len(data)
        try:
            data = self._read(len(view))
        except (EOFError, zlib.error, gzip.BadGzipFile, ZstdError) as error:
            reason = f"the compressed data is cut off or damaged ({str(error).lower()})"
            hint = "the papers before that are read; fetch the file again for the rest"
            raise UnreadableError(reason, hint) from error
        self._taken += len(data)
        if self._taken > self._limit:
            reason = f"one record takes more than {self._limit / 1024**2:.0f} MB"
            raise UnreadableError(reason, "write one record per line: jq -c '.[]' FILE > NEW_FILE")
        view[: len(data)] = data
        return len(data)


def uncompressed_name(name: str) -> str:
    """Return the name of a file without the suffix of its compression."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _peek(stream: BinaryIO) -> bytes:
    if isinstance(stream, io.BufferedReader):
        return stream.peek(len(_ZSTD))
    position = stream.tell()
    head = stream.read(len(_ZSTD))
    stream.seek(position)
    return head
