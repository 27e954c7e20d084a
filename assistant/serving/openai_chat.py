"""The chat protocol of OpenAI, as far as it fits: messages to a question, an answer to a message.

Reference:
    OpenAI, API reference, "Chat Completions" (request, completion and chunk objects, and the
    ``url_citation`` annotations of a message).

A conversation's last message is the question, the user's earlier ones are its history; what
others said is not read, since an answer rests on papers alone. Knows nothing of HTTP.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from assistant.answer.question import checked
from assistant.errors import QuestionError
from assistant.escaping import inactive
from assistant.serving.api_models import Where
from assistant.types import Answer, Citation, Sentence

MODEL = "abstract-assistant"
"""The one model that is offered: the engine with the collection of this process."""

_MARKER = re.compile(r"\[(\d+)\]")
_LAST_EARLIER = 20

UrlOf = Callable[[str], str]
"""Where a paper can be read, by its id."""


class TextPart(BaseModel):
    """A part of a message. Images and sound are refused."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message of the conversation."""

    model_config = ConfigDict(extra="allow", strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """The words of the message."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    """What a stream holds besides the text."""

    model_config = ConfigDict(extra="allow", strict=True)

    include_usage: bool | None = None


class ResponseFormat(BaseModel):
    """Text is all there is."""

    model_config = ConfigDict(extra="allow", strict=True)

    type: Literal["text"]


class ChatRequest(BaseModel):
    """A chat completion request.

    What would change the meaning of the answer and is not supported is refused (several choices,
    tools, other formats than text, log probabilities); what tunes a sampler (``temperature``,
    ``max_tokens`` and the like) and what is unknown is ignored, as local servers do.
    """

    model_config = ConfigDict(extra="allow", strict=True)

    model: str = Field(examples=[MODEL])
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    sources: bool = Field(
        default=False, description="Ours: end the text with the list of its sources."
    )
    where: Where | None = Field(default=None, description="Ours: what papers must meet.")
    n: Literal[1] | None = None
    tools: list[Any] | None = Field(default=None, max_length=0)
    functions: list[Any] | None = Field(default=None, max_length=0)
    response_format: ResponseFormat | None = None
    modalities: list[Literal["text"]] | None = None
    audio: None = None
    logprobs: Literal[False] | None = None

    @model_validator(mode="after")
    def _ends_with_a_question(self) -> Self:
        if self.messages[-1].role != "user":
            raise ValueError("the last message must be the user's question")
        return self

    @property
    def question(self) -> str:
        """What is asked."""
        return self.messages[-1].text

    @property
    def history(self) -> tuple[str, ...]:
        """What the user asked before, oldest first; what cannot have been a question is left out.

        The last question may lean on them.
        """
        earlier = [each.text for each in self.messages[:-1] if each.role == "user"]
        return tuple(text for text in earlier if _is_question(text))[-_LAST_EARLIER:]


def _is_question(text: str) -> bool:
    try:
        return bool(checked(text))
    except QuestionError:
        return False


class UrlCitation(BaseModel):
    """OpenAI's part: where the marker is in the text, in characters, and where the paper is."""

    start_index: int
    end_index: int
    title: str
    url: str


class PaperCitation(BaseModel):
    """Ours: the exact words, and where they are in the paper's abstract, in characters."""

    number: int
    paper_id: str
    start: int
    end: int
    quote: str


class Annotation(BaseModel):
    """A citation of the message."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation
    paper_citation: PaperCitation


class Message(BaseModel):
    """The answer as a message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: list[Annotation]


class Choice(BaseModel):
    """The one choice."""

    index: Literal[0] = 0
    message: Message
    finish_reason: Literal["stop"] = "stop"
    logprobs: None = None


class PromptDetails(BaseModel):
    """Of the prompt's tokens."""

    cached_tokens: int


class Usage(BaseModel):
    """What the model did, in tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class Completion(BaseModel):
    """A chat completion."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str = MODEL
    choices: list[Choice]
    usage: Usage
    status: Literal["answered", "abstained", "error"] = Field(
        description="Ours: an abstention is a text like any other, told apart here."
    )


class Model(BaseModel):
    """A model that can be asked."""

    id: str = MODEL
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "abstract-assistant"


class ModelList(BaseModel):
    """The models that can be asked."""

    object: Literal["list"] = "list"
    data: list[Model]


@dataclass
class Script:
    """The text of an answer as it grows, with its annotations.

    Streamed or not, the text is the same: sentences of one paper make a paragraph, or an entry
    below what stands above them.
    """

    url_of: UrlOf
    text: str = ""
    annotations: list[Annotation] = field(default_factory=list)
    _paper: str | None = None
    _break: str = "\n\n"

    def open(self, lead: str) -> str:
        """Add what stands above the sentences; returns what is new."""
        if lead:
            self._break = "\n- "
        return self._add(inactive(lead))

    def say(self, sentence: Sentence) -> str:
        """Add a sentence; returns what is new."""
        paper = sentence.citations[0].paper_id if sentence.citations else None
        separator = " " if paper == self._paper else self._break
        self._paper = paper
        start = len(self.text)
        piece = self._add((separator if self.text else "") + inactive(sentence.text))
        self._annotate(sentence.citations, start)
        return piece

    def close(self, answer: Answer, *, sources: bool) -> str:
        """Add what an answer holds besides its sentences; returns what is new."""
        piece = "" if answer.status == "answered" else self._add(inactive(answer.text))
        if sources and answer.citations:
            lines = [
                f"- [{each.number}] {inactive(each.title)}: “{inactive(each.quote)}”"
                for each in answer.citations
            ]
            piece += self._add("\n\nSources:\n" + "\n".join(lines))
        return piece

    def _add(self, piece: str) -> str:
        self.text += piece
        return piece

    def _annotate(self, citations: Sequence[Citation], start: int) -> None:
        markers = {int(match[1]): match.span() for match in _MARKER.finditer(self.text, start)}
        for each in citations:
            first, last = markers.get(each.number, (start, len(self.text)))
            self.annotations.append(
                Annotation(
                    url_citation=UrlCitation(
                        start_index=first,
                        end_index=last,
                        title=each.title,
                        url=self.url_of(each.paper_id),
                    ),
                    paper_citation=PaperCitation(
                        number=each.number,
                        paper_id=each.paper_id,
                        start=each.start,
                        end=each.end,
                        quote=each.quote,
                    ),
                )
            )


def completion(answer: Answer, url_of: UrlOf, *, sources: bool) -> Completion:
    """The answer as one completion."""
    script = Script(url_of)
    script.open(answer.lead)
    for sentence in answer.sentences:
        script.say(sentence)
    script.close(answer, sources=sources)
    message = Message(content=script.text, annotations=script.annotations)
    return Completion(
        id=new_id(),
        created=int(time.time()),
        choices=[Choice(message=message)],
        usage=usage(answer),
        status=answer.status,
    )


def usage(answer: Answer) -> Usage:
    """What the answer took."""
    tokens = answer.tokens
    prompt = tokens.reused + tokens.prefilled
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=tokens.decoded,
        total_tokens=prompt + tokens.decoded,
        prompt_tokens_details=PromptDetails(cached_tokens=tokens.reused),
    )


def new_id() -> str:
    """Names a completion."""
    return f"chatcmpl-{uuid.uuid4().hex}"


class Chunks:
    """The chunks of one streamed completion."""

    def __init__(self, *, with_usage: bool) -> None:
        self._same = {
            "id": new_id(),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": MODEL,
        }
        self._usage = {"usage": None} if with_usage else {}

    def delta(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        """A chunk that adds to the message."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._same, "choices": [choice], **self._usage}

    def usage(self, answer: Answer) -> dict[str, Any]:
        """The chunk behind the last one, if it was asked for."""
        return {**self._same, "choices": [], "usage": usage(answer).model_dump()}
