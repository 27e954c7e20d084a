"""The map of a collection: where its papers lie, and what its regions are called.

Made in the background, once for what the collection holds, and kept beside the index as JSON.
Knows the store's public interface, and nothing of how a map is shown.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vectorstore import Paper

logger = logging.getLogger(__name__)

VERSION = 1
MOST_REGIONS = 20
NAMED_BY = 4_000
"""Papers whose words name the regions."""
NAME_WORDS = 3
EVERY = 1 << 40
"""More papers than any collection has."""
GRID = 10_000
"""Coordinates are whole numbers from 0 to this."""
_LOOKING = "Looking at the papers"


class Source(Protocol):
    """What a map is made of."""

    @property
    def path(self) -> Path:
        """Folder of the index."""

    @property
    def stamp(self) -> object:
        """Another one when papers may have changed; cheap."""

    def __len__(self) -> int:
        """Papers in it."""

    def papers(self) -> Iterable[Paper]:
        """All papers."""

    def sample(self, most: int) -> tuple[tuple[Paper, ...], NDArray[np.float32]]:
        """Papers with the vectors of their first chunks."""


@dataclass(frozen=True, slots=True)
class Map:
    """Where each paper lies. The four sequences of papers go in step."""

    ids: tuple[str, ...]
    x: tuple[int, ...]
    """From 0 to ``GRID``."""
    y: tuple[int, ...]
    regions: tuple[int, ...]
    """The region of each paper, as a position in ``names``."""
    names: tuple[str, ...]
    """What each region is about, the largest region first."""


@dataclass(frozen=True, slots=True)
class State:
    """How far the making of a map is."""

    ready: bool
    done: float = 0.0
    """Share, in [0, 1]."""
    doing: str = ""
    failure: Exception | None = None


class Atlas:
    """Makes the map of one collection when it is asked for, and again when the papers change."""

    def __init__(self, source: Callable[[], Source]) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._map: Map | None = None
        self._key = ""
        self._stamp: object = None
        self._state = State(ready=False)
        self._making = False

    @property
    def current(self) -> Map | None:
        """The map that was made last."""
        return self._map

    @property
    def key(self) -> str:
        """Stands for the current map; another map has another one."""
        return self._key

    def look(self) -> State:
        """Begin to make the map if there is none of these papers yet; tells how far that is."""
        with self._lock:
            if not self._making:
                stamp = self._source().stamp
                if stamp != self._stamp or self._state.failure:
                    self._making, self._state = True, State(ready=False, doing=_LOOKING)
                    threading.Thread(target=self._make, args=(stamp,), daemon=True).start()
            return self._state

    def _make(self, stamp: object) -> None:
        try:
            source = self._source()
            key = fingerprint(source.papers())
            made = self._map if key == self._key else read(kept_at(source.path), key)
            if made is None:
                made = draw(source, self._tell)
                write(kept_at(source.path), key, made)
            with self._lock:
                self._map, self._key, self._stamp = made, key, stamp
                self._state, self._making = State(ready=True, done=1.0), False
        except Exception as error:
            logger.debug("no map", exc_info=True)
            with self._lock:
                self._state = State(ready=False, failure=error)
                self._making = False

    def _tell(self, done: float, doing: str) -> None:
        self._state = State(ready=False, done=done, doing=doing)


def draw(source: Source, tell: Callable[[float, str], None]) -> Map:
    """Make the map of a collection.

    Args:
        source: The collection.
        tell: Told the share that is done, and what is being done.
    """
    from vectorstore.projection import project

    tell(0.0, "Collecting the papers")
    # Not as many as there are: the store counts the places of removed papers, too.
    papers, vectors = source.sample(EVERY)
    if not papers:
        return Map((), (), (), (), ())
    places = project(vectors, progress=lambda done: tell(0.1 + 0.7 * done, "Laying out the papers"))
    tell(0.8, "Naming the regions")
    regions, names = name_regions(papers, vectors)
    grid = np.rint(places * GRID).astype(int)
    return Map(
        ids=tuple(paper.id for paper in papers),
        x=tuple(grid[:, 0].tolist()),
        y=tuple(grid[:, 1].tolist()),
        regions=tuple(regions.tolist()),
        names=names,
    )


def name_regions(
    papers: Sequence[Paper], vectors: NDArray[np.float32]
) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Group papers by their vectors; returns the region of each, and the regions' names."""
    from vectorstore.subjects import find_subjects

    step = -(-len(papers) // NAMED_BY)
    chosen = np.arange(0, len(papers), step)
    texts = [f"{paper.title}. {paper.abstract}" for paper in papers[::step]]
    subjects = find_subjects(texts, vectors[chosen], MOST_REGIONS)
    centres = np.vstack([vectors[chosen[list(each.members)]].mean(axis=0) for each in subjects])
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-9)
    regions = np.argmax(vectors @ centres.T, axis=1)
    names = [", ".join(each.words[:NAME_WORDS]) or "other papers" for each in subjects]
    sizes = np.bincount(regions, minlength=len(names))
    order = np.argsort(-sizes, kind="stable")
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    return position[regions], tuple(names[i] for i in order)


def fingerprint(papers: Iterable[Paper]) -> str:
    """Stands for what a map is made of: the papers with their texts, in their order."""
    digest = hashlib.sha256(str(VERSION).encode())
    for paper in papers:
        for text in (paper.id, paper.title, paper.abstract):
            data = text.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def kept_at(index: Path) -> Path:
    """Where the map of an index is kept: beside it, so that the index holds nothing foreign."""
    return index.with_name(f".{index.name}.map.json")


def read(path: Path, key: str) -> Map | None:
    """The map that is kept for these papers; None if there is none, or it is damaged."""
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if kept.pop("key") != key:
            return None
        found = Map(**{name: tuple(values) for name, values in kept.items()})
        lengths = {len(found.ids), len(found.x), len(found.y), len(found.regions)}
        return found if len(lengths) == 1 else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def write(path: Path, key: str, made: Map) -> None:
    """Keep a map; where that is not possible it is made again the next time."""
    temporary = path.with_suffix(".tmp")
    try:
        text = json.dumps({"key": key, **asdict(made)}, separators=(",", ":"))
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        logger.info("the map cannot be kept at %s", path, exc_info=True)
