"""One OpenAI-compatible server of a language model, over HTTP. The only module that talks to one.

It knows the three kinds of server and what each can do, not what is asked of the model:

    llama-server             prompts as token ids, so that control tokens in a paper are text;
                             a token may be forced by a grammar, so that its log odds are told
    vLLM                     prompts as text, echoed with log odds
    others (llama-cpp-python's server)   prompts as text, or chats only

Sources: OpenAI's API reference, "Completions" and "Chat"; llama.cpp, tools/server/README.md and
grammars/README.md (tokens in a grammar); vLLM, "OpenAI-Compatible Server".
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from assistant.errors import ModelServerError
from assistant.llm.chat_format import Messages

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
TOP = 20
"""Most alternatives of a token that every kind of server tells (OpenAI's and vLLM's limit)."""
VLLM_SLOTS = 8
"""Requests at once to a vLLM, which does not say how many it likes."""

_NOT_THERE = (404, 405, 501)
_MANUAL = "see docs/model_servers.md"

Prompt = list[int] | str | Messages
"""As token ids, as text, or as the messages of a chat."""


class ServerGoneError(Exception):
    """The server does not answer now; another one might, or this one later."""


class _NotThereError(ServerGoneError):
    """The server does not have this route."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server turned out to be.

    Attributes:
        name: Of the model, there.
        kind: What it takes as a prompt.
        likelihood: How it tells how likely a text is: of tokens that it is made to write, or of
            a prompt that it echoes; None if it does not.
        slots: Requests that it works on at once.
    """

    name: str
    kind: Literal["tokens", "text", "chat"]
    likelihood: Literal["forced", "echoed"] | None
    slots: int


@dataclass(frozen=True, slots=True)
class Scored:
    """Log P of a token, and of the likeliest at its place by their text."""

    logprob: float
    top: dict[str, float]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request; None where the server does not tell."""

    prompt: int
    reused: int
    written: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a reply, as it comes."""

    text: str = ""
    tokens: list[Scored] = field(default_factory=list)
    usage: Usage | None = None


class ModelServer:
    """A server, through one connection pool. For one event loop.

    Args:
        url: Of its API, with version and without a slash at the end.
        key: Sent as bearer token; nothing if None.
        timeout: Seconds of silence after which it counts as gone.
    """

    def __init__(self, url: str, *, key: str | None, timeout: float) -> None:
        self.url = url
        self.abilities: Abilities | None = None
        self._root = url.removesuffix("/v1")
        self._has_key = key is not None
        self._key, self._timeout = key, timeout
        self._client_made: httpx.AsyncClient | None = None

    @property
    def _client(self) -> httpx.AsyncClient:
        import httpx

        if self._client_made is None:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            self._client_made = httpx.AsyncClient(
                headers=headers,
                timeout=httpx.Timeout(self._timeout, connect=CONNECT_SECONDS),
                # A llama-server closes kept connections as it likes, also under a request.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
                trust_env=False,  # no proxy: nobody else is contacted
            )
        return self._client_made

    async def close(self) -> None:
        """Close all connections."""
        if self._client_made is not None:
            await self._client_made.aclose()

    # What it is

    async def look(self, wanted: str | None) -> Abilities:
        """Find out what the server can do.

        Args:
            wanted: The model's name; None takes the only one.

        Raises:
            ServerGoneError: It does not answer.
            ModelServerError: It refuses the key, does not have the model, or lacks log odds.
        """
        name, owner = await self._model(wanted)
        slots = await self._slots() if owner == "llamacpp" else None
        found: Abilities | None = None
        if slots is not None:
            tokens = await self.tokenize("Yes or no", special=False)
            found = await self._tried(Abilities(name, "tokens", "forced", slots), tokens)
        if found is None:
            echoed = Abilities(name, "text", "echoed", VLLM_SLOTS)
            plain = Abilities(name, "text", None, slots or 1)
            found = await self._tried(echoed if owner == "vllm" else plain, "Yes or")
        if found is None:
            chat: Messages = [{"role": "user", "content": "Say yes."}]
            found = await self._tried(Abilities(name, "chat", None, slots or 1), chat)
        if found is None:
            raise self._complaint("has neither completions nor chat completions", _MANUAL)
        self.abilities = found
        logger.info("%s: %s", self.url, found)
        return found

    async def _model(self, wanted: str | None) -> tuple[str, str]:
        """The model's name, and who says that it owns it, which tells the kind of server."""
        try:
            answer = await self._json("GET", f"{self.url}/models")
            models = [each for each in answer["data"] if isinstance(each["id"], str)]
        except (_NotThereError, KeyError, TypeError):
            models = []
        names = {
            alias: each for each in models for alias in (*(each.get("aliases") or ()), each["id"])
        }
        if wanted is None and len(models) == 1:
            wanted = models[0]["id"]
        offered = ", ".join(each["id"] for each in models) or "no list"
        if wanted is None:
            raise self._complaint(
                f"offers {len(models)} models: {offered}", f"choose one: openai:{self.url}#NAME"
            )
        if models and wanted not in names:
            raise self._complaint(
                f"has no model {wanted!r}; it offers: {offered}",
                f"name one that it offers: openai:{self.url}#NAME",
            )
        return wanted, str(names.get(wanted, {}).get("owned_by"))

    async def _slots(self) -> int | None:
        try:
            answer = await self._json("GET", f"{self._root}/props")
            return max(1, int(answer["total_slots"]))
        except (_NotThereError, KeyError, TypeError, ValueError):
            return None

    async def _tried(self, abilities: Abilities, prompt: Prompt) -> Abilities | None:
        """What remains of the abilities when they are tried; None if the route is missing."""
        self.abilities = abilities
        is_forced = abilities.likelihood == "forced"
        forced = [each for each in prompt[:1] if isinstance(each, int)] if is_forced else []
        try:
            pieces = [each async for each in self.complete(prompt, 1, top=5, forced=forced)]
        except _NotThereError:
            return None
        except ModelServerError:
            if not is_forced:
                raise
            plain = Abilities(abilities.name, abilities.kind, None, abilities.slots)
            return await self._tried(plain, prompt)  # a llama.cpp of before 2026
        except ServerGoneError as error:
            async for _ in self.complete(prompt, 1):
                pass
            raise self._without_logprobs() from error  # else it does answer
        if not any(token.top for piece in pieces for token in piece.tokens):
            raise self._without_logprobs()
        return abilities

    def _without_logprobs(self) -> ModelServerError:
        return self._complaint(
            "does not tell log odds (logprobs), from which it is judged whether a paper answers",
            "llama-cpp-python's server needs --logits_all true; vLLM must not be run with "
            f"--max-logprobs below {TOP}; {_MANUAL}",
        )

    # What it does

    async def tokenize(self, text: str, *, special: bool, bos: bool = False) -> list[int]:
        """Token ids, by a llama-server.

        Args:
            text: Any text.
            special: Whether control tokens in the text count as such.
            bos: Whether the token stands in front that begins a sequence, if the model has one.
        """
        body = {"content": text, "parse_special": special, "add_special": bos}
        return [int(each) for each in (await self._post("tokenize", body))["tokens"]]

    async def render(self, messages: Messages) -> str | None:
        """The text of a prompt in the model's chat format, by a llama-server; None if refused."""
        body = {"messages": messages, "chat_template_kwargs": {"enable_thinking": False}}
        try:
            return str((await self._post("apply-template", body))["prompt"])
        except (_NotThereError, ModelServerError, ServerGoneError, KeyError):
            return None

    async def _post(self, route: str, body: dict[str, Any]) -> Any:
        return await self._json("POST", f"{self._root}/{route}", body)

    async def complete(
        self, prompt: Prompt, most: int, *, top: int = 0, forced: Sequence[int] = ()
    ) -> AsyncGenerator[Piece, None]:
        """What the model writes behind a prompt, greedily; closing it stops the server.

        Args:
            prompt: Of the server's kind.
            most: Tokens to write at most.
            top: How many alternatives of each token are told.
            forced: Tokens that the model has to write, whatever it thinks of them.

        Raises:
            ServerGoneError: It does not answer, or not to the end.
            ModelServerError: It refuses.
        """
        async with aclosing(self._chunks(self._body(prompt, most, top, forced))) as chunks:
            async for chunk in chunks:
                yield _piece(chunk)

    def _body(self, prompt: Prompt, most: int, top: int, forced: Sequence[int]) -> dict[str, Any]:
        assert self.abilities is not None
        body: dict[str, Any] = {
            "model": self.abilities.name,
            "max_tokens": most,
            "temperature": 0.0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.abilities.kind == "chat":
            odds = {"logprobs": True, "top_logprobs": top} if top else {}
            return body | {"messages": prompt} | odds
        if forced:
            body["grammar"] = "root ::= " + " ".join(f"<[{token}]>" for token in forced)
        if self.abilities.likelihood == "echoed":
            body["add_special_tokens"] = False  # they are in the chat format
        return body | {"prompt": prompt} | ({"logprobs": top} if top else {})

    async def _chunks(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        import httpx

        assert self.abilities is not None
        route = "chat/completions" if self.abilities.kind == "chat" else "completions"
        finished = False
        try:
            async with self._client.stream("POST", f"{self.url}/{route}", json=body) as response:
                if response.status_code != 200:
                    raise self._refusal(
                        response.status_code, (await response.aread()).decode("utf-8", "replace")
                    )
                async for line in response.aiter_lines():
                    data = line.removeprefix("data:").strip()
                    if line.startswith("error:"):
                        raise self._refusal(500, line.removeprefix("error:"))
                    if not line.startswith("data:") or data == "[DONE]":
                        continue
                    chunk = json.loads(data)
                    if "error" in chunk:
                        raise self._refusal(int(chunk["error"].get("code") or 500), data)
                    choices = chunk.get("choices") or [{}]
                    finished |= choices[0].get("finish_reason") is not None
                    yield chunk
        except (httpx.TransportError, ValueError) as error:
            raise self._gone(error) from error
        if not finished:
            raise ServerGoneError("it ended its reply in the middle")

    async def echo(self, prompt: str) -> tuple[list[tuple[int, float]], dict[str, float]]:
        """How likely a prompt was, and what comes next; by a vLLM.

        Returns:
            For each token but the first where it starts in the text and its log P given what
            stands before; and the log P of the likeliest tokens behind the prompt, by their text.
        """
        body = self._body(prompt, 1, TOP, ()) | {"echo": True, "stream": False}
        del body["stream_options"]
        answer = await self._json("POST", f"{self.url}/completions", body)
        try:
            told = answer["choices"][0]["logprobs"]
            offsets = [int(each) for each in told["text_offset"]]
            scores = zip(offsets, told["token_logprobs"], strict=True)
            within = [
                (at, float(odds)) for at, odds in scores if odds is not None and at < len(prompt)
            ]
            behind = told["top_logprobs"][-1] if offsets[-1] >= len(prompt) else {}
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise self._complaint("does not echo log odds", _MANUAL) from error
        return within, dict(behind or {})

    # How it answers

    async def _json(self, method: str, url: str, body: dict[str, Any] | None = None) -> Any:
        import httpx

        try:
            response = await self._client.request(method, url, json=body)
            if response.status_code == 200:
                return response.json()
        except (httpx.TransportError, ValueError) as error:
            raise self._gone(error) from error
        raise self._refusal(response.status_code, response.text)

    def _refusal(self, status: int, text: str) -> Exception:
        said = _message(text)
        if status in {401, 403}:
            what = "refuses the key" if self._has_key else "wants a key"
            return self._complaint(what, "set its key as ASSISTANT_MODEL_KEY")
        if status in _NOT_THERE and "model" not in said.lower():
            return _NotThereError(said)
        if status in {408, 425, 429} or status >= 500:
            return ServerGoneError(f"it answers {status}: {said}")
        return self._complaint(f"answers {status}: {said}", _MANUAL)

    def _gone(self, error: Exception) -> ServerGoneError:
        reason = str(error) or type(error).__name__
        return ServerGoneError(reason)

    def _complaint(self, what: str, hint: str) -> ModelServerError:
        return ModelServerError(
            f"the model server {self.url} {what}", model=f"openai:{self.url}", hint=hint
        )


def _message(text: str) -> str:
    """What a server says is wrong, in a line."""
    try:
        told = json.loads(text)
        told = told.get("error", told.get("detail", told))
        told = told.get("message", told) if isinstance(told, dict) else told
    except (ValueError, AttributeError):
        told = text
    return " ".join(str(told).split())[:300]


def _piece(chunk: dict[str, Any]) -> Piece:
    choices = chunk.get("choices") or [{}]
    choice = choices[0]
    text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
    return Piece(text, _scored(choice.get("logprobs") or {}), _usage(chunk))


def _scored(told: dict[str, Any]) -> list[Scored]:
    """Log odds in the form of chats, which a llama-server has everywhere, or of completions."""
    if content := told.get("content"):
        return [
            Scored(each["logprob"], {t["token"]: t["logprob"] for t in each["top_logprobs"][::-1]})
            for each in content
        ]
    tops = told.get("top_logprobs") or ()
    return [
        Scored(odds, top or {})
        for odds, top in zip(told.get("token_logprobs") or (), tops, strict=False)
        if odds is not None
    ]


def _usage(chunk: dict[str, Any]) -> Usage | None:
    usage = chunk.get("usage")
    if not usage:
        return None
    reused = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(usage.get("prompt_tokens", 0), reused, usage.get("completion_tokens") or 0)
