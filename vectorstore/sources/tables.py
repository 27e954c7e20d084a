"""Parquet and Arrow to raw records, a batch of rows at a time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import date, datetime, time
from typing import Any, BinaryIO

from vectorstore.errors import PaperFormatError
from vectorstore.sources.formats import Header, Parsed, RawRecord

_ROWS_PER_BATCH = 256
_BUFFER_BYTES = 1 << 20
_FILE_HINT = "write it again, or as JSON Lines"


def parse_parquet(stream: BinaryIO, path: str) -> Parsed:
    """Parse a Parquet file.

    Args:
        stream: The bytes of the file; copied to a temporary one if it cannot be read from its end.
        path: Named in errors.
    """
    yield from _parse(stream, path, "Parquet", _parquet_batches)


def parse_arrow(stream: BinaryIO, path: str) -> Parsed:
    """Parse an Arrow file or stream, as Feather and the datasets library write them.

    Args:
        stream: The bytes of the file; copied to a temporary one if it cannot be read from its end.
        path: Named in errors.
    """
    yield from _parse(stream, path, "Arrow", _arrow_batches)


def _parse(stream: BinaryIO, path: str, kind: str, batches: Any) -> Parsed:
    import pyarrow as pa

    number = 0
    with ExitStack() as stack:
        try:
            names, found = batches(_seekable(stream, stack), stack)
            yield Header(None, names)
            for batch in found:
                for start in range(0, batch.num_rows, _ROWS_PER_BATCH):
                    for row in _rows(batch.slice(start, _ROWS_PER_BATCH)):
                        number += 1
                        yield _record(row, number, path)
        except (pa.ArrowException, OSError) as error:
            reason = f"not valid {kind} ({str(error).splitlines()[0].lower()})"
            record = number + 1 if number else None
            yield PaperFormatError(reason, path=path, line=None, record=record, hint=_FILE_HINT)


def _seekable(stream: BinaryIO, stack: ExitStack) -> BinaryIO:
    if stream.seekable():
        return stream
    # On disk: what is compressed may be far larger than memory.
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed by the stack
    shutil.copyfileobj(stream, file, _BUFFER_BYTES)
    file.seek(0)
    return file


def _parquet_batches(file: BinaryIO, stack: ExitStack) -> tuple[list[str], Iterator[Any]]:
    import pyarrow.parquet as pq

    parquet = stack.enter_context(pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES))
    names = _readable(parquet.schema_arrow)
    return names, parquet.iter_batches(_ROWS_PER_BATCH, columns=names, use_threads=False)


def _arrow_batches(file: BinaryIO, stack: ExitStack) -> tuple[list[str], Iterator[Any]]:
    import pyarrow as pa

    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    if is_file:
        reader = stack.enter_context(pa.ipc.open_file(file))
        found = (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        reader = stack.enter_context(pa.ipc.open_stream(file))
        found = iter(reader)
    names = _readable(reader.schema)
    return names, (batch.select(names) for batch in found)


def _readable(schema: Any) -> list[str]:
    """Return the columns that can be of use: not those of bytes, such as images."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    return [field.name for field in schema if not is_bytes(field.type)]


def _rows(batch: Any) -> Iterator[dict[str, Any] | Exception]:
    try:
        yield from batch.to_pylist()
    except ValueError:
        # One of them cannot be converted: text that is not UTF-8, or a date out of range.
        for number in range(batch.num_rows):
            try:
                yield from batch.slice(number, 1).to_pylist()
            except ValueError as error:
                yield error


def _record(
    row: dict[str, Any] | Exception, number: int, path: str
) -> RawRecord | PaperFormatError:
    if isinstance(row, dict):
        return RawRecord(number, {name: _plain(value) for name, value in row.items()})
    reason, hint = f"the row cannot be read ({row})", "mend the row, or leave it out"
    return PaperFormatError(reason, path=path, line=None, record=number, hint=hint)


def _plain(value: Any) -> Any:
    """Return a value as JSON would have it."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
