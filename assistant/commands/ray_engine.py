"""Workers on a Ray cluster, fed and drained by Ray Data. Only importer of ``ray``.

A stream of work goes out as numbers; whichever worker gets a number fetches the work of that number
from a feed, and what it makes of it comes back in a stream of results. At most so many pieces are
underway, so memory grows neither here nor there with the amount of work. A worker that dies is
started again by Ray, and its work is done again. Knows nothing of indexes and journals: who calls
keeps the results, in one process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from assistant.commands import console
from assistant.errors import USER_ERRORS, WorkersError
from assistant.llm.hardware import usable_cores
from assistant.model_files.model_address import is_served
from assistant.question_files.answers import Fields
from assistant.question_files.batch import AnsweringWorkers, answer_fields
from assistant.question_files.questions import Question
from assistant.settings import Settings
from vectorstore.ahead import EmbeddingWorkers, Vectors, vectors_of
from vectorstore.types import Paper

logger = logging.getLogger(__name__)

_EMBEDDING_CORES = 1
_ANSWERING_CORES = 4
_WAITING_CORES = 1
"""Cores for each worker; the last one where a model server does the work."""
_UNDERWAY_PER_WORKER = 4
_QUEUED_PER_WORKER = 2
# What is underway is small: 128 abstracts, their vectors, a question, an answer.
_OBJECT_STORE_BYTES = 256_000_000
MOST_TRIES = 4
"""A piece of work over which so many workers have died ends the run; Ray itself never gives up."""

_CONNECT_SECONDS = 10
_AGAIN = "the same command goes on where this one stopped; -vv shows what workers print"

Kept = TypeVar("Kept")
Sent = TypeVar("Sent")
Made = TypeVar("Made")

Job = Callable[[int], Callable[[Sent], Made]]
"""What workers do. It travels to them, loads in each what is needed, given the threads that it may
use, and returns what is to be done with each piece of work."""


@dataclass(frozen=True, slots=True)
class EmbeddingJob:
    """Papers to vectors; ``settings`` say where the embedding model is."""

    settings: Settings

    def __call__(self, threads: int) -> Callable[[Sequence[Paper]], Vectors]:
        """Open the model."""
        return partial(vectors_of, console.open_embedder(self.settings, threads=threads))


@dataclass(frozen=True, slots=True)
class AnsweringJob:
    """Questions to answers; ``settings`` say where index, models and states are."""

    settings: Settings

    def __call__(self, threads: int) -> Callable[[Question], Fields]:
        """Open the collection."""
        assistants = console.Assistants(self.settings.model_copy(update={"threads": threads}))
        assistants("")
        return partial(answer_fields, assistants)


def _anywhere(settings: Settings) -> Settings:
    """The same settings for processes that run in another folder."""
    paths = {name: getattr(settings, name) for name in settings.model_fields_set}
    changes: dict[str, Any] = {
        name: path.absolute() for name, path in paths.items() if isinstance(path, Path)
    }
    if Path(settings.model).is_file():
        changes["model"] = str(Path(settings.model).absolute())
    return settings.model_copy(update=changes)


class Cluster:
    """Workers on a cluster; in a ``with`` block, at whose end one that was started here is stopped.

    Args:
        address: Of a cluster that runs, of which this machine is a node: "auto" or HOST:PORT.
            Empty for one of this machine alone, that nobody else can reach.
        workers: How many; by default as many as the cores of the cluster bear.
    """

    def __init__(self, address: str = "", workers: int | None = None) -> None:
        self._address = address
        self._workers = workers
        self._open = ExitStack()

    def start(self) -> None:
        """Start the cluster, or join it.

        Raises:
            WorkersError: Ray is not installed, or the cluster cannot be started or joined.
        """
        if self._address.startswith("ray://"):
            raise WorkersError(
                "Ray Data does not work over ray://",
                hint="run this on a node of the cluster, with --engine ray:auto",
            )
        # Read when Ray is imported, the token once in a process.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray Data gives its workers arguments by reference, and Ray warns of that as an error.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        if not self._address:
            os.environ.update(_ALONE)
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise WorkersError(
                "Ray is not installed", hint="pip install 'abstract-assistant[ray]'"
            ) from error
        # Ray Data warns of work that is too small to keep all workers busy, and the like.
        warnings.filterwarnings("ignore", module=r"ray\.")
        try:
            self._reach()
            ray.init(
                self._address or "local",
                **({} if self._address else self._own_options()),
                logging_level=logging.ERROR,
                log_to_driver=logger.isEnabledFor(logging.DEBUG),
            )
        # Ray raises ConnectionError, ValueError, RuntimeError, and its own.
        except Exception as error:
            self._open.close()
            where = f"at {self._address} " if self._address else ""
            raise WorkersError(
                f"the Ray cluster {where}cannot be used: {_first_line(error)}",
                hint="ray status, on the same machine; docs/ray.md says how to start a cluster",
            ) from error
        self._open.callback(ray.shutdown)
        # What goes wrong comes as an exception, too.
        if not logger.isEnabledFor(logging.DEBUG):
            for name in ("ray", "ray.data"):
                logging.getLogger(name).setLevel(logging.CRITICAL)

    def _own_options(self) -> dict[str, Any]:
        folder = tempfile.TemporaryDirectory(prefix="assistant-ray-", ignore_cleanup_errors=True)
        return {
            "num_cpus": max(usable_cores(), self._workers or 1),
            "object_store_memory": _OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "_temp_dir": self._open.enter_context(folder),
        }

    def _reach(self) -> None:
        """Raise an OSError if nobody listens at the address; Ray would try for minutes."""
        host, colon, port = self._address.rpartition(":")
        if colon:
            socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    def embedding(self, settings: Settings) -> EmbeddingWorkers:
        """Workers for an ingest; what they make comes back in order."""
        job = EmbeddingJob(_anywhere(settings))
        return partial(self.each, job, cores=_EMBEDDING_CORES, in_order=True)

    def answering(self, settings: Settings) -> AnsweringWorkers:
        """Workers for a batch; each with a model of its own, if that is no server."""
        cores = _WAITING_CORES if is_served(settings.model) else _ANSWERING_CORES
        return partial(self.each, AnsweringJob(_anywhere(settings)), cores=cores)

    def each(
        self,
        job: Job[Sent, Made],
        work: Iterable[tuple[Kept, Sent]],
        *,
        cores: int = 1,
        in_order: bool = False,
    ) -> Generator[tuple[Kept, Made], None, None]:
        """Do all of the work; with ``job`` it is `vectorstore.types.Workers`.

        Args:
            job: What is to be done.
            work: As there.
            cores: For each worker, where the number of workers is not given.
            in_order: Give results back in the order of the work, instead of as they come.

        Raises:
            WorkersError: A worker cannot be prepared, or dies again and again.
        """
        import ray

        feed: Any = ray.remote(num_cpus=0)(_Feed).remote()
        workers, threads = self._shape(cores)
        logger.info("%d workers of %d threads", workers, threads)
        results = _results(feed, job, workers, threads, in_order=in_order)
        underway: dict[int, Kept] = {}

        def next_made() -> tuple[Kept, Made]:
            with _translated():
                outcome = next(results)
                feed.forget.remote(outcome.number)
            if outcome.problem is not None:
                raise WorkersError(f"a worker cannot work: {outcome.problem}", hint=outcome.hint)
            return underway.pop(outcome.number), outcome.made

        try:
            for number, (kept, sent) in enumerate(work):
                underway[number] = kept
                with _translated():
                    ray.get(feed.offer.remote(number, sent))
                while len(underway) >= _UNDERWAY_PER_WORKER * workers:
                    yield next_made()
            with _translated():
                ray.get(feed.end.remote())
            while underway:
                yield next_made()
        finally:
            results.close()
            with suppress(ray.exceptions.RayError):
                ray.kill(feed)

    def _shape(self, cores: int) -> tuple[int, int]:
        """How many workers, and how many threads of each."""
        import ray

        there = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        workers = self._workers or max(1, there // cores)
        return workers, max(1, there // workers)


_ALONE = {
    # Off means, on any system, that Ray listens on 127.0.0.1 alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # And the token keeps out other users of this machine.
    "RAY_AUTH_MODE": "token",
}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a piece of work."""

    number: int
    made: Any = None
    problem: str | None = None
    """Why no work can be done at all."""
    hint: str = _AGAIN


class _Feed:
    """Holds the work that is underway. An actor, since workers cannot call the program itself."""

    def __init__(self) -> None:
        self._work: dict[int, Any] = {}
        self._tries: Counter[int] = Counter()
        self._count = 0
        self._is_over = False
        self._changed = asyncio.Condition()

    async def offer(self, number: int, sent: Any) -> None:
        """Hand out a piece of work; numbers rise by one."""
        async with self._changed:
            self._work[number] = sent
            self._count = number + 1
            self._changed.notify_all()

    async def end(self) -> None:
        """There is no more."""
        async with self._changed:
            self._is_over = True
            self._changed.notify_all()

    async def has(self, number: int) -> bool:
        """Wait for a piece of work; False if it will not come."""
        async with self._changed:
            await self._changed.wait_for(lambda: number < self._count or self._is_over)
            return number < self._count

    async def fetch(self, number: int) -> tuple[int, Any]:
        """The work, and the how many-th worker this is: those before have died over it."""
        self._tries[number] += 1
        return self._tries[number], self._work.get(number)

    async def forget(self, number: int) -> None:
        """Its result has come back."""
        self._work.pop(number, None)
        self._tries.pop(number, None)


def _numbers(feed: Any, _batch: Any) -> Iterator[Any]:
    """Yield the number of each piece of work as soon as it is there."""
    import ray

    number = 0
    while ray.get(feed.has.remote(number)):
        yield {"number": [number]}
        number += 1


class _Worker:
    """One worker; Ray Data calls it with one number at a time."""

    def __init__(self, feed: Any, job: Job[Any, Any], threads: int) -> None:
        self._feed = feed
        self._job = job
        self._threads = threads
        self._do: Callable[[Any], Any] | None = None

    def __call__(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        import ray

        (number,) = (int(each) for each in batch["number"])
        # An object of our own, which Ray Data carries as it is and does not take for a column.
        outcome = np.empty(1, dtype=object)
        outcome[0] = self._outcome(number, *ray.get(self._feed.fetch.remote(number)))
        return {"outcome": outcome}

    def _outcome(self, number: int, tries: int, sent: Any) -> _Outcome:
        if tries > MOST_TRIES:
            return _Outcome(number, problem=f"{MOST_TRIES} have died over one piece of work")
        try:
            self._do = self._do or self._job(self._threads)
            return _Outcome(number, self._do(sent))
        except USER_ERRORS as error:
            # Not every error can travel; message and hint can.
            return _Outcome(number, problem=str(error), hint=error.hint)
        except Exception as error:
            logger.exception("a worker has failed")
            return _Outcome(number, problem=f"{type(error).__name__}: {error}")


def _results(
    feed: Any, job: Job[Any, Any], workers: int, threads: int, *, in_order: bool
) -> Generator[_Outcome, None, None]:
    """Yield what comes back, each as soon as it is there or its turn has come."""
    from ray.data import ActorPoolStrategy, DataContext, from_items

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = in_order
    # Every piece of work is a block of its own, however small: blocks are what is passed on.
    context.target_min_block_size = context.target_max_block_size = 1
    made = (
        from_items([0])
        .map_batches(partial(_numbers, feed), num_cpus=0, batch_size=1)
        .map_batches(
            _Worker,
            fn_constructor_args=(feed, job, threads),
            compute=ActorPoolStrategy(
                size=workers, max_tasks_in_flight_per_actor=_QUEUED_PER_WORKER
            ),
            batch_size=1,
            num_cpus=threads,
        )
    )
    # Nothing is fetched ahead: a result must not wait here for the next one.
    batches = made.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0)
    for batch in batches:
        yield from batch["outcome"]


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what Ray raises into the error for the user."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        logger.debug("the workers failed", exc_info=True)
        raise WorkersError(
            f"the workers have failed: {_first_line(error)}",
            hint=_AGAIN,
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
