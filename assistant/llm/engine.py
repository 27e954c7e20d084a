"""What the pipeline needs of whatever runs the model: papers in, log odds and text out.

Two things keep this promise: `reader`, over a model in this process, and `remote`, over servers.
`engines` chooses between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from vectorstore import Paper


class StoppedError(Exception):
    """The computation was stopped from outside."""


@dataclass(slots=True)
class Counts:
    """Tokens, and papers read for the first time, since the count was started."""

    reused: int = 0
    prefilled: int = 0
    decoded: int = 0
    papers_read: int = 0


class Asked(Protocol):
    """A question that is put to some papers.

    Attributes:
        likelihoods: By paper id: log P(question | paper), in nats; all 0 where it cannot be had.
        probes: By paper id: log odds of yes against no to "does this paper hold the answer".
    """

    likelihoods: dict[str, float]
    probes: dict[str, float]

    def weigh(self, papers: Sequence[Paper]) -> list[Paper]:
        """Let papers meet the question; returns those that did, which may be the first ones only.

        Raises:
            StoppedError: It was stopped meanwhile.
            ModelError: The model does not run any more.
        """

    def read(self, paper: Paper) -> None:
        """Read a paper that is to be weighed. Raises as `weigh`."""

    def write(self, paper: Paper, most: int, instruction: str = "") -> Iterator[str]:
        """What the model says of a paper, greedily, piece by piece. Raises as `weigh`.

        Args:
            paper: One that was weighed.
            most: Tokens to write at most.
            instruction: What to do about the question, read behind it; without one, to answer it.
        """


class Engine(Protocol):
    """A model that reads papers. One thread uses it; `stop` may be called from any."""

    counts: Counts

    @property
    def at_once(self) -> int:
        """How many papers meet a question in about the time of one."""

    @property
    def has_room(self) -> bool:
        """Whether a further paper can be kept without forgetting another."""

    def is_read(self, paper: Paper) -> bool:
        """Whether the model need not read this paper any more."""

    def read(self, papers: Sequence[Paper]) -> None:
        """Read papers, so that a question meets them read. Raises as `Asked.weigh`."""

    def start_counting(self) -> None:
        """Count from nothing: what is read from here on was not reused."""

    def prepare(self) -> None:
        """Adapt to the machine before work is done."""

    def asking(self, question: str, *, context: str = "") -> AbstractContextManager[Asked]:
        """Put a question to papers.

        Args:
            question: Plain text, whatever it holds.
            context: Stands in front of it, and does not count when papers are ranked.
        """

    def stop(self) -> None:
        """Let what is going on raise `StoppedError` soon."""

    def rearm(self) -> None:
        """Undo `stop`."""

    def close(self) -> None:
        """Free everything; the object is of no use afterwards."""
