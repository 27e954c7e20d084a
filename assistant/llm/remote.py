"""The model as a reader of papers, where the model is on servers.

The same steps as `reader`, over HTTP: each paper's prompt begins with what is the same for every
question, so that the server's own prompt cache has it when the paper is met again. How likely a
question is, is told by a llama-server that is made to write it and by a vLLM that echoes it; other
servers do not tell, and papers are then ranked by retrieval and by the odds of yes against no.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TypeVar

from assistant.errors import ModelServerError
from assistant.llm.background import Background
from assistant.llm.chat_format import ChatFormat, Messages, chat_format, cut_format
from assistant.llm.engine import Asked, Counts
from assistant.llm.model_pool import ServerPool
from assistant.llm.model_server import TOP, Abilities, ModelServer, Piece, Prompt, ServerGoneError
from assistant.llm.prompt_parts import NO, YES, PromptParts
from assistant.llm.prompts import Prompts
from assistant.llm.states import state_name
from assistant.model_files.model_address import ModelAddress
from vectorstore import Paper

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAPER_TOKENS, PAPER_CHARACTERS = 1536, 6144
"""Most of a paper that is read, as in `reader`; and where tokens cannot be counted."""

MANY = 200
"""Alternatives of a reply that a llama-server is asked for: yes and no are nearly always there."""

UNDECIDED = -20.0
"""Log odds where neither yes nor no is among the likeliest replies."""

_SPEAKS = re.compile(r"<(?=[|/]?[A-Za-z_｜])|\[(?=/?INST\])")
"""How control tokens begin, in the chat formats that there are."""
_YES_ITSELF = re.compile(r"\s*yes\b[\s.,:;!]*", re.IGNORECASE)
_LONGEST_YES = 8

Part = int | str
"""Of a prompt: a token id, or some text."""


class RemoteEngine:
    """Papers in, log odds and text out, of a model on servers. An `engine.Engine`.

    Args:
        address: Where the servers are.
        prompts: What the model is told.
        key: What the servers want as a key.
        requests: To each at once; None takes as many as it has slots.
        timeout: Seconds of silence after which a server counts as gone.
        template: File of a Jinja chat template, for servers that do not apply it themselves.

    Raises:
        ModelServerError: No server can be reached, or they lack what is needed.
    """

    has_room = False
    """The servers' caches are not ours to fill with papers that nobody has asked about."""

    def __init__(
        self,
        address: ModelAddress,
        prompts: Prompts,
        *,
        key: str | None = None,
        requests: int | None = None,
        timeout: float = 120.0,
        template: Path | None = None,
    ) -> None:
        self.counts = Counts()
        self._sent: set[str] = set()
        servers = [ModelServer(url, key=key, timeout=timeout) for url in address.urls]
        self._pool = ServerPool(servers, address.name, requests)
        self._loop = Background("assistant-model-servers")
        try:
            self.abilities = self._loop.run(self._pool.open())
            self._steps = self._opened(prompts, template)
        except BaseException:
            self.close()
            raise

    def _opened(self, prompts: Prompts, template: Path | None) -> _Steps:
        system = prompts.system.template.strip()
        if self.abilities.kind == "tokens":
            layout = self._layout(lambda messages: self._ask(lambda s: s.render(messages)), system)
            bos = self._tokenize("", bos=True)[:1]
            return _Steps(
                PromptParts(prompts, layout, self._tokenize, lambda paper: paper[:PAPER_TOKENS]),
                lambda parts: [int(each) for each in (*bos, *parts)],
                self.abilities,
            )
        is_chat = self.abilities.kind == "chat"
        layout = ChatFormat("", "") if is_chat else _own_layout(template, system)

        def prompt(parts: Sequence[Part]) -> Prompt:
            said = "".join(map(str, parts))
            if not is_chat:
                return said
            return [{"role": "system", "content": system}, {"role": "user", "content": said}]

        text: PromptParts[Part] = PromptParts(prompts, layout, _plain, _cut)
        return _Steps(text, prompt, self.abilities)

    def _layout(self, render: Callable[[Messages], str | None], system: str) -> ChatFormat:
        try:
            return cut_format(render, system)
        except ValueError as error:
            name = self.abilities.name
            hint = "start the server with another --chat-template"
            raise ModelServerError(f"{name}: {error}", model=name, hint=hint) from error

    def _tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[Part]:
        return [*self._ask(lambda server: server.tokenize(text, special=special, bos=bos))]

    def _ask(self, work: Callable[[ModelServer], Awaitable[T]]) -> T:
        return self._loop.run(self._worked("", work))

    async def _worked(self, key: str, work: Callable[[ModelServer], Awaitable[T]]) -> T:
        """Do some work at one server after the other, until one has done it."""
        failed: dict[str, str] = {}
        while True:
            try:
                async with self._pool.lease(key, failed) as server:
                    return await work(server)
            except ServerGoneError:
                continue  # the next one; the pool raises when there is none

    # Of `Engine`

    @property
    def at_once(self) -> int:
        """As many papers as the servers have slots."""
        return self._pool.slots

    def prepare(self) -> None:
        """The servers' machines are theirs."""

    def start_counting(self) -> None:
        """Count from nothing."""
        self.counts = Counts()

    def stop(self) -> None:
        """Close the requests that are going on, from whatever thread; that stops the servers."""
        self._loop.stop()

    def rearm(self) -> None:
        """Let requests be sent again."""
        self._loop.rearm()

    def close(self) -> None:
        """Close all connections."""
        self._loop.close(self._pool.close())

    def is_read(self, paper: Paper) -> bool:
        """Whether a server has met this paper before; it may have forgotten it since."""
        return _key(paper) in self._sent

    def read(self, papers: Sequence[Paper]) -> None:
        """Nothing is read before a question is asked: the server reads both in one request."""

    @contextmanager
    def asking(self, question: str, *, context: str = "") -> Iterator[Asked]:
        """Put a question to papers."""
        yield RemoteAsked(self, self._steps, question, context)

    # What is counted

    def _met(self, paper: Paper) -> None:
        if not self.is_read(paper):
            self._sent.add(_key(paper))
            self.counts.papers_read += 1

    def _count(self, piece: Piece) -> None:
        if piece.usage:
            self.counts.reused += piece.usage.reused
            self.counts.prefilled += piece.usage.prompt - piece.usage.reused


class _Steps:
    """The requests that a paper and a question make, in the pieces that the servers take."""

    def __init__(
        self,
        parts: PromptParts[Part],
        prompt: Callable[[Sequence[Part]], Prompt],
        abilities: Abilities,
    ) -> None:
        self.parts, self._prompt, self._abilities = parts, prompt, abilities

    async def weigh(
        self, server: ModelServer, block: list[Part], stem: list[Part], scored: int
    ) -> AsyncGenerator[Piece | tuple[float, float], None]:
        """What comes of the requests; the last item is likelihood and log odds."""
        before = [*self.parts.prefix, *block, *stem]
        whole = self._prompt([*before, *self.parts.after])
        likelihood = 0.0
        if self._abilities.likelihood == "echoed":
            start, end = (len("".join(map(str, each))) for each in (before[:-scored], before))
            told, behind = await server.echo(str(whole))
            yield sum(odds for at, odds in told if start <= at < end), _odds(behind)
            return
        if self._abilities.likelihood == "forced":
            words = [int(each) for each in stem[-scored:]]
            asked = server.complete(self._prompt(before[:-scored]), scored, top=1, forced=words)
            async with aclosing(asked) as pieces:
                async for piece in pieces:
                    likelihood += sum(token.logprob for token in piece.tokens)
                    yield piece
        replies: dict[str, float] = {}
        top = MANY if self._abilities.kind == "tokens" else TOP
        async with aclosing(server.complete(whole, 1, top=top)) as pieces:
            async for piece in pieces:
                if piece.tokens:
                    replies = piece.tokens[0].top
                yield piece
        yield likelihood, _odds(replies)

    def answering(self, block: list[Part], stem: list[Part]) -> list[Part]:
        """A prompt whose reply is the answer."""
        affirmed = [] if self._abilities.kind == "chat" else self.parts.affirmed
        return [*self.parts.prefix, *block, *stem, *self.parts.after, *affirmed]

    def following(self, block: list[Part], stem: list[Part], instruction: str) -> list[Part]:
        """A prompt whose reply follows another instruction."""
        abstract = self.parts.abstract(block)
        return [*self.parts.prefix, *abstract, *self.parts.instead(stem, instruction)]

    async def write(
        self, server: ModelServer, parts: list[Part], written: str, most: int
    ) -> AsyncGenerator[Piece, None]:
        """Go on behind what is written already."""
        if self._abilities.kind == "tokens":
            tokens = await server.tokenize(written, special=False) if written else []
            parts = [*parts, *tokens]
        elif self._abilities.kind == "text":
            parts = [*parts, written]
        async with aclosing(server.complete(self._prompt(parts), most)) as pieces:
            async for piece in pieces:
                yield piece


class RemoteAsked:
    """A question that is put to papers on servers. An `engine.Asked`.

    Attributes:
        likelihoods: By paper id: log P(question | paper), in nats; 0 where no server tells it.
        probes: By paper id: log odds of yes against no to "does this paper hold the answer".
    """

    def __init__(self, engine: RemoteEngine, steps: _Steps, question: str, context: str) -> None:
        self.likelihoods: dict[str, float] = {}
        self.probes: dict[str, float] = {}
        self._engine, self._steps = engine, steps
        self._stem, self._scored = steps.parts.stem(question, context)
        self._blocks: dict[str, list[Part]] = {}

    def read(self, paper: Paper) -> None:
        """Papers are read when they are weighed."""

    def weigh(self, papers: Sequence[Paper]) -> list[Paper]:
        """Let papers meet the question, as many at once as the servers have slots for.

        Raises:
            StoppedError: It was stopped meanwhile.
            ModelServerError: No server can be reached any more, or one refuses.
        """
        new = [paper for paper in papers if paper.id not in self.probes]
        for paper in new:
            self._blocks[paper.id] = self._steps.parts.block(paper)
        weighed = self._engine._loop.run(self._all(new))
        for paper, (likelihood, probe) in zip(new, weighed, strict=True):
            self.likelihoods[paper.id], self.probes[paper.id] = likelihood, probe
        return new

    async def _all(self, papers: Sequence[Paper]) -> list[tuple[float, float]]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._weighed(paper)) for paper in papers]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _weighed(self, paper: Paper) -> tuple[float, float]:
        async def work(server: ModelServer) -> tuple[float, float]:
            block, found = self._blocks[paper.id], (0.0, UNDECIDED)
            steps = self._steps.weigh(server, block, self._stem, self._scored)
            async with aclosing(steps) as items:
                async for item in items:
                    if isinstance(item, Piece):
                        self._engine._count(item)
                    else:
                        found = item
            return found

        found = await self._engine._worked(_key(paper), work)
        self._engine._met(paper)
        return found

    def write(self, paper: Paper, most: int, instruction: str = "") -> Iterator[str]:
        """What the model says of a paper, greedily, piece by piece; another server may finish it.

        Args and errors are those of `engine.Asked`.
        """
        block = self._blocks[paper.id]
        if instruction:
            parts = self._steps.following(block, self._stem, instruction)
        else:
            parts = self._steps.answering(block, self._stem)
        pieces = self._written(paper, parts, most)
        if self._engine.abilities.kind == "chat" and not instruction:
            pieces = _behind_yes(pieces)
        return self._engine._loop.iterate(pieces)

    async def _written(
        self, paper: Paper, parts: list[Part], most: int
    ) -> AsyncGenerator[str, None]:
        failed: dict[str, str] = {}
        written, tokens = "", 0
        is_chat = self._engine.abilities.kind == "chat"
        while True:
            skipped = len(written) if is_chat else 0  # a chat cannot be gone on with
            left = most if is_chat else most - tokens
            try:
                async with (
                    self._engine._pool.lease(_key(paper), failed) as server,
                    aclosing(self._steps.write(server, parts, written, left)) as pieces,
                ):
                    async for piece in pieces:
                        self._engine._count(piece)
                        tokens += bool(piece.text)
                        self._engine.counts.decoded += bool(piece.text)
                        text, skipped = piece.text[skipped:], max(0, skipped - len(piece.text))
                        written += text
                        if text:
                            yield text
                    return
            except ServerGoneError:
                continue


def _own_layout(template: Path | None, system: str) -> ChatFormat:
    try:
        source = None if template is None else template.read_text(encoding="utf-8")
        return chat_format(source, system)
    except (OSError, ValueError) as error:
        raise ModelServerError(
            f"the chat template {template} cannot be used: {error}",
            model=str(template),
            hint="set ASSISTANT_MODEL_TEMPLATE to a file with the model's Jinja template",
        ) from error


def _cut(paper: list[Part]) -> list[Part]:
    return [str(text)[:PAPER_CHARACTERS] for text in paper]


def _plain(text: str, *, special: bool = False) -> list[Part]:
    """Text for a server that takes control tokens in it for such: theirs are broken up."""
    return [text if special else _SPEAKS.sub(lambda found: f"{found[0]} ", text)]


def _key(paper: Paper) -> str:
    return state_name(paper.title, paper.abstract)


def _odds(replies: dict[str, float]) -> float:
    """Log odds of yes against no; what is not among the likeliest counts as the last of them."""
    yes, no = ([replies[each] for each in texts if each in replies] for texts in (YES, NO))
    if not yes and not no:
        return UNDECIDED
    least = min(replies.values())
    return _sum(yes or [least]) - _sum(no or [least])


def _sum(logs: list[float]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(each - top) for each in logs))


async def _behind_yes(pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """What a reply says behind its yes; nothing if it begins otherwise."""
    head: str | None = ""
    async with aclosing(pieces):
        async for piece in pieces:
            if head is None:
                yield piece
                continue
            head += piece
            if len(head) > _LONGEST_YES:
                if not (found := _YES_ITSELF.match(head)):
                    return
                yield head[found.end() :]
                head = None
