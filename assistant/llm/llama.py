"""One loaded model: tokens in, logits out, over many KV sequences that can be copied and kept.

The only module that runs llama.cpp. It sees token ids, positions and sequences; it does not know
what a paper, a question or a prompt is. Not thread-safe: one owner thread calls it (`pipeline`).

Facts of llama.cpp that shape it: the positions of a batch must continue their sequence;
`llama_decode` returns 1 when the cache is full and rolls the batch back, 2 when it was aborted;
`llama_state_seq_set_data` clears its sequence first and returns 0 when the state does not fit;
cells shared by two sequences move for both, so nothing here ever shifts positions.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from assistant.errors import ModelDamagedError, ModelError
from assistant.llm.engine import StoppedError

logger = logging.getLogger(__name__)

BATCH_TOKENS = 512
SCORED_BATCH_TOKENS = 128
"""Where every token's logits are wanted: they take 0.6 MB a token."""


class CacheFullError(Exception):
    """The KV cache has no room for this batch; the caller frees sequences and tries again."""


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens to be decoded in ``sequence`` from ``position`` on."""

    sequence: int
    position: int
    tokens: Sequence[int]


class _Entry(NamedTuple):
    """One token of a batch."""

    sequence: int
    position: int
    token: int
    wants_logits: bool


class Llama:
    """A GGUF model with one context of ``sequences`` KV sequences that share one cache.

    Args:
        path: GGUF file.
        context_tokens: Cells of the KV cache, over all sequences.
        sequences: Number of sequences.
        gpu_layers: Layers to offload; -1 is all. Ignored by a build without offload.
        threads: Threads for prefill and decode; None takes one for each usable core.

    Raises:
        ModelError: llama.cpp cannot load the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        context_tokens: int = 4096,
        sequences: int = 16,
        gpu_layers: int = -1,
        threads: int | None = None,
    ) -> None:
        # How long OpenMP's threads spin before they sleep, read when the library is loaded. The
        # default stalls as soon as one core is busy elsewhere: on two cores decode fell from 13
        # to 0.3 tokens/s. With 10,000 turns it is 3, and 12.7 where nothing else runs; with none
        # at all (OMP_WAIT_POLICY=passive) it is 4.5 and 10.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        import llama_cpp

        self._api: Any = llama_cpp
        self.path = path
        self.context_tokens = context_tokens
        self.sequences = sequences
        self.stop = threading.Event()
        self._threads = threads
        self._log = _quiet(llama_cpp)
        llama_cpp.llama_backend_init()
        self._model = self._load_model(gpu_layers)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.vocabulary_size: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self._context = self._open_context()
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        self.choose_threads()

    def _load_model(self, gpu_layers: int) -> Any:
        parameters = self._api.llama_model_default_params()
        parameters.n_gpu_layers = 999 if gpu_layers < 0 else gpu_layers
        # A mapped file would stay in memory beside the weights that were repacked from it.
        parameters.load_mode = self._api.LLAMA_LOAD_MODE_NONE
        model = self._api.llama_model_load_from_file(os.fsencode(self.path), parameters)
        if not model:
            detail = self._log.last_error()
            kind = ModelDamagedError if self.path.stat().st_size else ModelError
            raise kind(
                f"llama.cpp cannot load {self.path}: {detail}",
                model=self.path.name,
                hint="assistant models verify",
            )
        return model

    def _open_context(self) -> Any:
        parameters = self._api.llama_context_default_params()
        parameters.n_ctx = self.context_tokens
        parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
        parameters.n_seq_max = self.sequences
        parameters.kv_unified = True
        parameters.flash_attn_type = self._api.LLAMA_FLASH_ATTN_TYPE_ENABLED
        parameters.no_perf = True
        # Held by self: llama.cpp keeps only the pointer.
        self._abort = self._api.ggml_abort_callback(lambda _: self.stop.is_set())
        parameters.abort_callback = self._abort
        context = self._api.llama_init_from_model(self._model, parameters)
        if not context:
            raise ModelError(
                f"no memory for {self.context_tokens} tokens of context: {self._log.last_error()}",
                model=self.path.name,
                hint="close other programs or choose a smaller model: assistant models list",
            )
        return context

    def close(self) -> None:
        """Free the model; the object is of no use afterwards."""
        if self._context:
            self._api.llama_batch_free(self._batch)
            self._api.llama_free(self._context)
            self._api.llama_model_free(self._model)
            self._context = self._model = None

    # Text and tokens

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids. Only with ``special`` do control tokens in the text count as such."""
        data = text.encode("utf-8", "replace")
        size = len(data) + 16
        tokens = (ctypes.c_int32 * size)()
        count = self._api.llama_tokenize(self._vocab, data, len(data), tokens, size, False, special)
        return list(tokens[:count])

    def piece(self, token: int) -> bytes:
        """The bytes of one token; a character may be split over several tokens."""
        buffer = ctypes.create_string_buffer(256)
        size = self._api.llama_token_to_piece(self._vocab, token, buffer, 256, 0, False)
        return buffer.raw[: max(size, 0)]

    def ends_turn(self, token: int) -> bool:
        """Whether the model says with this token that it has finished."""
        return bool(self._api.llama_vocab_is_eog(self._vocab, token))

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that the file carries."""
        template = self._api.llama_model_chat_template(self._model, None)
        return template.decode() if template else None

    @property
    def bos_text(self) -> str:
        """The text of the begin-of-sequence token, if the model wants one."""
        return self._special_text(self._api.llama_vocab_bos(self._vocab))

    @property
    def eos_text(self) -> str:
        """The text of the end-of-sequence token."""
        return self._special_text(self._api.llama_vocab_eos(self._vocab))

    def _special_text(self, token: int) -> str:
        return "" if token < 0 else self._api.llama_vocab_get_text(self._vocab, token).decode()

    # Decoding

    def choose_threads(self) -> int:
        """Take as many threads as there are usable cores; returns their number."""
        threads = self._threads or usable_cores()
        self._api.llama_set_n_threads(self._context, threads, threads)
        return threads

    def decode(self, spans: Sequence[Span], last: int = 1) -> NDArray[np.float32]:
        """Run the spans and return the logits after the last tokens of each.

        Args:
            spans: What to decode.
            last: After how many tokens at the end of each span; at most as many as it has.

        Returns:
            Array of shape (last * len(spans), vocabulary_size), span after span.

        Raises:
            CacheFullError: No room; nothing of the batch that did not fit was kept.
            StoppedError: ``stop`` was set meanwhile.
        """
        logits = np.empty((last * len(spans), self.vocabulary_size), dtype=np.float32)
        entries = [
            _entry(span, offset, token, wants_logits=offset + last >= len(span.tokens))
            for span in spans
            for offset, token in enumerate(span.tokens)
        ]
        rows = iter(logits)
        for start in range(0, len(entries), BATCH_TOKENS):
            for _, row in self._decode_batch(entries[start : start + BATCH_TOKENS]):
                next(rows)[:] = row
        return logits

    def weigh(
        self, spans: Sequence[Span], scored: int, after: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Run the spans, each followed by the same tokens; say how likely their ends were.

        Args:
            spans: What to decode.
            scored: Tokens at the end of each span that count; fewer than each has.
            after: Tokens behind each span; at least one.

        Returns:
            Sums of log P(token | all before it) over the scored tokens, in nats, of shape
            (len(spans),); and the logits after the last token, of shape (len(spans),
            vocabulary_size).

        Raises:
            As ``decode``.
        """
        sums = np.zeros(len(spans))
        last = np.empty((len(spans), self.vocabulary_size), dtype=np.float32)
        entries, targets = [], []
        for row, span in enumerate(spans):
            end = len(span.tokens)
            tokens = [*span.tokens, *after]
            for offset, token in enumerate(tokens):
                wanted = end - scored - 1 <= offset < end - 1
                ends = offset + 1 == len(tokens)
                entries.append(_entry(span, offset, token, wants_logits=wanted or ends))
                targets.append((row, tokens[offset + 1] if wanted else -1))
        for start in range(0, len(entries), SCORED_BATCH_TOKENS):
            for index, logits in self._decode_batch(entries[start : start + SCORED_BATCH_TOKENS]):
                row, target = targets[start + index]
                if target < 0:
                    last[row] = logits
                else:
                    top = logits.max()
                    sums[row] += logits[target] - top - np.log(np.exp(logits - top).sum())
        return sums, last

    def _decode_batch(self, entries: Sequence[_Entry]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Decode, and yield the index and the logits of each entry that wants them.

        The logits are llama.cpp's own memory: they are gone with the next batch.
        """
        batch = self._batch
        batch.n_tokens = len(entries)
        for index, entry in enumerate(entries):
            batch.token[index] = entry.token
            batch.pos[index] = entry.position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = entry.sequence
            batch.logits[index] = entry.wants_logits
        status = self._api.llama_decode(self._context, batch)
        if status == 1:
            raise CacheFullError
        if self.stop.is_set() or status == 2:
            raise StoppedError
        if status:
            raise ModelError(
                f"llama.cpp failed with status {status}: {self._log.last_error()}",
                model=self.path.name,
                hint="assistant doctor",
            )
        for index, entry in enumerate(entries):
            if entry.wants_logits:
                pointer = self._api.llama_get_logits_ith(self._context, index)
                yield index, np.ctypeslib.as_array(pointer, shape=(self.vocabulary_size,))

    # Sequences

    def copy_sequence(self, source: int, target: int, end: int) -> None:
        """Let ``target`` share the cells [0, end) of ``source``; costs nothing."""
        self._api.llama_memory_seq_cp(self._memory, source, target, 0, end)

    def cut_sequence(self, sequence: int, start: int = 0, end: int = -1) -> None:
        """Drop the positions [start, end) of a sequence; -1 is its end."""
        self._api.llama_memory_seq_rm(self._memory, sequence, start, end)

    def save_sequence(self, sequence: int) -> bytes:
        """The KV state of one sequence."""
        size = self._api.llama_state_seq_get_size(self._context, sequence)
        buffer = (ctypes.c_uint8 * size)()
        written = self._api.llama_state_seq_get_data(self._context, buffer, size, sequence)
        return bytes(memoryview(buffer)[:written])

    def load_sequence(self, sequence: int, state: bytes) -> bool:
        """Replace a sequence by a kept state; False if llama.cpp refuses it or has no room."""
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        return bool(self._api.llama_state_seq_set_data(self._context, buffer, len(state), sequence))

    def fingerprint(self) -> str:
        """What else than the file decides the bytes of a KV state: build and cache layout."""
        info = self._api.llama_print_system_info().decode()
        return f"llama-cpp-python {self._api.__version__}; f16; flash attention; {info}"


def _entry(span: Span, offset: int, token: int, *, wants_logits: bool) -> _Entry:
    return _Entry(span.sequence, span.position + offset, token, wants_logits)


def usable_cores() -> int:
    """Cores that this process may use."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:
        usable = os.cpu_count() or 1
    return max(1, usable)


class _Log:
    """The last complaints of llama.cpp, which otherwise go to the terminal."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def last_error(self) -> str:
        return self.errors[-1] if self.errors else "no reason given"


_log = _Log()
_callbacks: list[Any] = []  # llama.cpp keeps only the pointer


def _quiet(llama_cpp: Any) -> _Log:
    """Send llama.cpp's log to ours: errors kept for messages, the rest at DEBUG."""
    if not _callbacks:

        def receive(level: int, text: bytes, _: Any) -> None:
            line = text.decode("utf-8", "replace").strip()
            if level == 4 and line:  # GGML_LOG_LEVEL_ERROR
                _log.errors[:] = [*_log.errors[-9:], line]
            logger.debug("%s", line)

        _callbacks.append(llama_cpp.llama_log_callback(receive))
        llama_cpp.llama_log_set(_callbacks[0], ctypes.c_void_p(0))
    return _log


@contextlib.contextmanager
def opened(path: Path, **options: Any) -> Iterator[Llama]:
    """A model that is freed at the end of the block."""
    model = Llama(path, **options)
    try:
        yield model
    finally:
        model.close()
