"""The REST API and the OpenAI-compatible endpoint.

The only importer of FastAPI. A request becomes a call, its result a response, and every error says
what is wrong and what to do; who may ask was settled by ``gate``.
"""

# No `from __future__ import annotations`: FastAPI reads the annotations of functions whose types
# are imported where they are used.

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote

from assistant.errors import (
    USER_ERRORS,
    AssistantError,
    QuestionError,
    UnavailableError,
)
from assistant.escaping import json_text
from assistant.serving.api_models import (
    MOST_PAPERS,
    AnswerBody,
    AskRequest,
    CheckRequest,
    CheckResult,
    ErrorBody,
    Health,
    PaperPage,
    SearchRequest,
    SearchResult,
    filters_of,
)
from assistant.serving.asking import Desk
from assistant.serving.gate import MOST_BYTES, error_fields
from assistant.serving.openai_chat import (
    MODEL,
    ChatRequest,
    Chunks,
    Completion,
    Model,
    ModelList,
    Script,
    UrlOf,
    completion,
)
from assistant.streaming.events import event_as_dict
from assistant.types import Done, Event, Retrieved, Verified
from assistant.ui.page import safe_url
from vectorstore import Paper
from vectorstore.errors import PaperNotFoundError, StoreError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

logger = logging.getLogger(__name__)

T = TypeVar("T")

SILENCE_SECONDS = 15.0
"""A stream says something that often, so that nobody on the way takes it for dead."""

_DESCRIPTION = """Ask questions of a collection of paper abstracts; every sentence of an answer is
backed by an exact quotation. `/v1/chat/completions` is for clients of OpenAI's API."""


class ModelUnknownError(AssistantError):
    """A model of another name was asked for."""


class ClientGoneError(Exception):
    """Nobody waits for the response any more."""


def build_api(desk: Desk) -> "FastAPI":
    """The application; its routes answer whoever reaches them."""
    from fastapi import FastAPI

    api = FastAPI(
        title="Abstract Assistant",
        description=_DESCRIPTION,
        version=_version(),
        # The interactive pages of FastAPI load scripts from other hosts.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        responses={
            "4XX": {"model": ErrorBody, "description": "What is wrong, and what to do about it."},
            "5XX": {"model": ErrorBody, "description": "What failed, and what to do about it."},
        },
    )
    _answer_errors(api)
    _add_health(api, desk)
    _add_papers(api, desk)
    _add_questions(api, desk)
    _add_chat(api, desk)
    return api


def _version() -> str:
    try:
        return metadata.version("abstract-assistant")
    except metadata.PackageNotFoundError:  # run from its sources
        return "0"


# The routes


def _add_health(api: "FastAPI", desk: Desk) -> None:
    from fastapi import Response

    @api.get("/health", tags=["server"])
    async def health() -> Health:
        """Whether the server answers; needs no key."""
        return Health()

    @api.get("/metrics", tags=["server"], include_in_schema=False)
    async def metrics() -> Response:
        text, media_type = desk.metrics.text()
        return Response(text, media_type=media_type)


def _add_papers(api: "FastAPI", desk: Desk) -> None:
    from fastapi import Query

    @api.post("/v1/search", tags=["papers"])
    def search(body: SearchRequest) -> SearchResult:
        """Find papers, without the language model."""
        found = desk.assistant.search(body.query, body.top_k, filters_of(body.where))
        return SearchResult(passages=list(found))

    @api.post("/v1/check", tags=["papers"])
    def check(body: CheckRequest) -> CheckResult:
        """Compare a text with the papers sentence by sentence, without the language model."""
        return desk.check(body.text, body.paper, filters_of(body.where))

    @api.get("/v1/papers", tags=["papers"])
    def list_papers(
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_PAPERS)] = 20,
    ) -> PaperPage:
        """List the papers, in a fixed order."""
        return desk.page(offset, limit)

    @api.get("/v1/papers/{paper_id:path}", tags=["papers"])
    def get_paper(paper_id: str) -> Paper:
        """Show a paper with its abstract, which citations point into."""
        return desk.assistant.store.paper(paper_id)


def _add_questions(api: "FastAPI", desk: Desk) -> None:
    from fastapi import Depends, Request
    from fastapi.responses import StreamingResponse

    streamed = {"description": "With `stream`: the events, `done` last.", "content": _SSE}

    @api.post(
        "/v1/ask",
        tags=["questions"],
        response_model=AnswerBody,
        responses={200: streamed},
    )
    async def ask(
        body: AskRequest,
        request: Request,
        open_until_sent: Annotated[AsyncExitStack, Depends(_until_sent)],
    ) -> Any:
        """Answer a question. An abstention is an answer; see its `status`."""
        asked = body.question, body.history, filters_of(body.where)
        if not body.stream:
            answer = await _unless_gone(request, desk.answer(*asked))
            return AnswerBody.model_validate(answer.as_dict())
        events = await open_until_sent.enter_async_context(desk.asked(*asked))
        first = await anext(events)
        lines = _with_errors(event_as_dict(each) async for each in _chained(first, events))
        return StreamingResponse(_sse(lines), media_type="text/event-stream", headers=_UNCACHED)


def _add_chat(api: "FastAPI", desk: Desk) -> None:
    from fastapi import Depends, Request
    from fastapi.responses import StreamingResponse

    @api.get("/v1/models", tags=["OpenAI"])
    async def list_models() -> ModelList:
        """The one model."""
        return ModelList(data=[Model()])

    @api.get("/v1/models/{model}", tags=["OpenAI"])
    async def get_model(model: str) -> Model:
        """The one model."""
        _check_model(model)
        return Model()

    @api.post(
        "/v1/chat/completions",
        tags=["OpenAI"],
        response_model=Completion,
        responses={200: {"description": "With `stream`: chunks.", "content": _SSE}},
    )
    async def create_chat_completion(
        body: ChatRequest,
        request: Request,
        open_until_sent: Annotated[AsyncExitStack, Depends(_until_sent)],
    ) -> Any:
        """Answer the last message; the user's earlier ones are what it may lean on."""
        _check_model(body.model)
        base = str(request.base_url)
        asked = body.question, body.history, filters_of(body.where)
        if not body.stream:
            answer = await _unless_gone(request, desk.answer(*asked))
            papers = [passage.paper for passage in answer.passages]
            return completion(answer, _urls(base, papers), sources=body.sources)
        events = await open_until_sent.enter_async_context(desk.asked(*asked))
        first = await anext(events)
        chunks = _with_errors(_chunks(_chained(first, events), body, base))
        return StreamingResponse(
            _sse(chunks, end="[DONE]"), media_type="text/event-stream", headers=_UNCACHED
        )


_SSE: dict[str, Any] = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "description": "One server-sent event; its data is JSON.",
            "properties": {"data": {"type": "string"}},
            "required": ["data"],
        }
    }
}
_UNCACHED = {"cache-control": "no-store", "x-accel-buffering": "no"}


def _check_model(name: str) -> None:
    if name != MODEL:
        raise ModelUnknownError(f"there is no model {name!r}", hint=f"use {MODEL}")


def _urls(base: str, papers: list[Paper]) -> UrlOf:
    known = {paper.id: safe_url(paper.url) for paper in papers}
    return lambda each: known.get(each) or f"{base}v1/papers/{quote(each, safe='')}"


# Streams


async def _until_sent() -> AsyncIterator[AsyncExitStack]:
    """What is entered here is left when the response is sent, or cannot be."""
    async with AsyncExitStack() as stack:
        yield stack


async def _chained(first: Event, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    yield first
    async for event in events:
        yield event


async def _chunks(
    events: AsyncIterator[Event], body: ChatRequest, base: str
) -> AsyncIterator[dict[str, Any]]:
    """Only what is verified is sent: what was sent cannot be taken back."""
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    chunks = Chunks(with_usage=with_usage)
    script = Script(_urls(base, []))
    yield chunks.delta({"role": "assistant", "content": "", "refusal": None})
    async for event in events:
        piece = ""
        match event:
            case Retrieved():
                script.url_of = _urls(base, [passage.paper for passage in event.passages])
                piece = script.open(event.lead)
            case Verified(sentence=sentence):
                piece = script.say(sentence)
            case Done(answer=answer):
                piece = script.close(answer, sources=body.sources)
        if piece:
            yield chunks.delta({"content": piece})
        if isinstance(event, Done):
            # All at once: clients that put deltas together know no way to extend a list of objects.
            annotations = [each.model_dump() for each in script.annotations]
            yield chunks.delta({"annotations": annotations})
            yield chunks.delta({}, "stop")
            if with_usage:
                yield chunks.usage(event.answer)


async def _with_errors(
    items: AsyncIterator[dict[str, Any]],
) -> AsyncIterator[dict[str, Any]]:
    """End a stream that has begun with the error that stopped it."""
    try:
        async for item in items:
            yield item
    except USER_ERRORS as error:
        yield _error_of(error)[1]
    except Exception:
        logger.exception("a streamed question failed")
        yield _internal()


async def _sse(
    items: AsyncIterator[Mapping[str, Any]], end: str | None = None
) -> AsyncIterator[str]:
    """Server-sent events, with a comment whenever it was quiet for long."""
    waiting: asyncio.Task[Mapping[str, Any]] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(items))
            await asyncio.wait({waiting}, timeout=SILENCE_SECONDS)
            if not waiting.done():
                yield ": still here\n\n"
                continue
            item, waiting = await waiting, None
            yield f"data: {json_text(item)}\n\n"
    except StopAsyncIteration:
        pass
    finally:
        if waiting is not None:
            waiting.cancel()
    if end:
        yield f"data: {end}\n\n"


async def _unless_gone(request: "Request", work: Awaitable[T]) -> T:
    """The result of work that ends when nobody waits for it any more.

    Raises:
        ClientGoneError: The client has hung up.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return await working
        raise ClientGoneError
    finally:
        gone.cancel()
        working.cancel()


async def _hung_up(request: "Request") -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


# Errors


def _answer_errors(api: "FastAPI") -> None:
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    def respond(status: int, fields: dict[str, Any], **headers: str) -> JSONResponse:
        return JSONResponse(fields, status, headers=headers)

    async def on_user_error(_: Request, error: Exception) -> JSONResponse:
        status, fields = _error_of(error)
        return respond(status, fields, **({"retry-after": "60"} if status == 503 else {}))

    async def on_validation(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return respond(400, _invalid(error.errors()))

    async def on_http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        fields = error_fields(
            error.status_code, error.detail.lower(), _HTTP_HINTS.get(error.status_code)
        )
        return respond(error.status_code, fields, **dict(error.headers or {}))

    async def on_gone(_: Request, __: Exception) -> JSONResponse:
        return respond(408, error_fields(408, "the request did not arrive, or its sender has gone"))

    async def on_anything(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return respond(500, _internal())

    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[JSONResponse]]] = {
        AssistantError: on_user_error,
        StoreError: on_user_error,
        RequestValidationError: on_validation,
        HTTPException: on_http,
        ClientDisconnect: on_gone,
        ClientGoneError: on_gone,
        Exception: on_anything,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


_HTTP_HINTS: Mapping[int, str] = {
    404: "see /openapi.json for what there is",
    405: "see /openapi.json for what there is",
    408: "send it at once, or in smaller parts",
    413: f"a request may have {MOST_BYTES:,} bytes",
}


def _error_of(error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and body for an error that is meant for the user."""
    hint: str = getattr(error, "hint", "")
    match error:
        case ModelUnknownError():
            status, code = 404, "model_not_found"
        case PaperNotFoundError():
            status, code = 404, "paper_not_found"
        case QuestionError():
            status, code = 400, "invalid_question"
        case UnavailableError():
            status, code = 503, "busy"
        case _:
            status, code = 503, "not_ready"
    return status, error_fields(status, str(error), hint, code=code)


def _invalid(errors: Any) -> dict[str, Any]:
    first = errors[0]
    place = [str(step) for step in first["loc"] if step not in ("body", "query", "path")]
    param = ".".join(place) or None
    message = f"{param}: {first['msg']}" if param else str(first["msg"])
    return error_fields(
        400, message, "see /openapi.json for what is expected", param=param, code=first["type"]
    )


def _internal() -> dict[str, Any]:
    return error_fields(
        500,
        "something went wrong inside the assistant; its log has the details",
        "assistant doctor",
    )
