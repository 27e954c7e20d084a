"""Servers of one model that share the load; one that is gone is passed over for a while.

Work is leased a server. When the server fails at it, the work is leased another, until none is
left. Knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from assistant.errors import ModelServerError
from assistant.llm.model_server import Abilities, ModelServer, ServerGoneError
from assistant.llm.states import state_name

logger = logging.getLogger(__name__)

PASSED_OVER_SECONDS = 15.0
"""After a server has failed; others are preferred meanwhile."""


class ServerPool:
    """Some servers of one model.

    Args:
        servers: At least one.
        name: The model's, or None for the only one.
        requests: To each at once; None takes as many as it has slots.
    """

    def __init__(
        self, servers: Sequence[ModelServer], name: str | None, requests: int | None
    ) -> None:
        self._members = [_Member(server) for server in servers]
        self._name, self._requests = name, requests
        self._first: Abilities | None = None

    async def open(self) -> Abilities:
        """Look at all servers.

        Raises:
            ModelServerError: None can be reached; or one that can lacks what is needed, or is of
                another kind than the others.
        """
        results = await asyncio.gather(
            *(self._ready(member) for member in self._members), return_exceptions=True
        )
        failed: dict[str, str] = {}
        for member, result in zip(self._members, results, strict=True):
            if isinstance(result, ServerGoneError):
                failed[member.server.url] = str(result)
            elif isinstance(result, BaseException):
                raise result
        if self._first is None:
            raise _none_left(failed)
        for url, reason in failed.items():
            logger.warning("the model server %s is passed over: %s", url, reason)
        return self._first

    @property
    def slots(self) -> int:
        """Requests that the servers that are there work on at once."""
        return max(1, sum(each.slots for each in self._members if each.server.abilities))

    async def close(self) -> None:
        """Close all connections."""
        for member in self._members:
            await member.server.close()

    def lease(self, key: str, failed: dict[str, str]) -> _Lease:
        """A server for one request, once it has a free slot.

        Args:
            key: Of a paper: it goes to the same server again while that is possible, which may
                still have it in its cache.
            failed: Of one piece of work: why servers failed at it; filled when a lease ends by
                `ServerGoneError`.

        Raises:
            ModelServerError: All servers have failed.
        """
        now = asyncio.get_running_loop().time()
        left = [each for each in self._members if each.server.url not in failed]
        if not left:
            raise _none_left(failed)
        member = min(
            left,
            key=lambda each: (
                each.gone_until > now,
                each.in_flight >= each.slots,
                state_name(key, each.server.url),
            ),
        )
        return _Lease(self, member, failed)

    async def _ready(self, member: _Member) -> None:
        """Look at a server that is new, or that was gone."""
        async with member.looking:
            if member.server.abilities is not None:
                return
            try:
                found = await member.server.look(self._name)
            except BaseException as error:
                member.leave(error)
                raise
            self._first = self._first or found
            if (found.kind, found.likelihood) != (self._first.kind, self._first.likelihood):
                member.server.abilities = None
                raise ModelServerError(
                    f"the model server {member.server.url} is of another kind than the others",
                    model=f"openai:{member.server.url}",
                    hint="servers of one --model must be of the same program and version",
                )
            member.arrive(self._requests or found.slots)


class _Member:
    """A server, and how it stands with it."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.slots = 1
        self.free = asyncio.Semaphore(1)
        self.in_flight = 0
        self.gone_until = 0.0
        self.looking = asyncio.Lock()

    def arrive(self, slots: int) -> None:
        self.gone_until = 0.0
        if slots != self.slots:
            self.slots, self.free = slots, asyncio.Semaphore(slots)

    def leave(self, error: BaseException) -> None:
        """What is known of a server that fails is forgotten: another may come back in its place."""
        self.server.abilities = None
        if isinstance(error, ServerGoneError):
            now = asyncio.get_running_loop().time()
            self.gone_until = now + PASSED_OVER_SECONDS


class _Lease:
    """A server for the length of a block, which may raise `ServerGoneError`."""

    def __init__(self, pool: ServerPool, member: _Member, failed: dict[str, str]) -> None:
        self._pool, self._member, self._failed = pool, member, failed

    async def __aenter__(self) -> ModelServer:
        self._member.in_flight += 1
        try:
            self._free = self._member.free
            await self._free.acquire()
            try:
                await self._pool._ready(self._member)
            except BaseException as error:
                self._free.release()
                self._note(error)
                raise
        except BaseException:
            self._member.in_flight -= 1
            raise
        return self._member.server

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._member.in_flight -= 1
        self._free.release()
        if error is not None:
            self._note(error)

    def _note(self, error: BaseException) -> None:
        if isinstance(error, ServerGoneError):
            logger.warning("the model server %s is passed over: %s", self._member.server.url, error)
            self._failed[self._member.server.url] = str(error)
            self._member.leave(error)


def _none_left(failed: dict[str, str]) -> ModelServerError:
    reasons = "; ".join(f"{url}: {reason}" for url, reason in failed.items())
    return ModelServerError(
        f"no model server can be reached ({reasons})",
        model="openai:" + ",".join(failed),
        hint="start it and ask again, or choose another model with --model",
    )
