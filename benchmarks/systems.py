"""The systems that are compared, each asked the same questions in a process of its own.

A system is a function from questions to rows: seconds to the sources, the first text and the end,
and tokens written.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assistant import Assistant
from assistant.answer.verification import Evidence
from assistant.llm.llama import Llama, Span, opened
from assistant.llm.prompts import load_prompts
from assistant.llm.reader import Reader
from assistant.llm.states import StateCache
from assistant.model_files.models import resolve
from assistant.quality.plain import PAPERS, open_plain
from assistant.resources import resource
from assistant.settings import load_settings
from assistant.types import Answer
from vectorstore.store import Store

PREFILL_TOKENS, DECODE_TOKENS = 512, 64
READ_PAPERS = 12
CITATION_CHUNK_CHARACTERS = 4000
"""More than an abstract has: LlamaIndex is to cite whole abstracts, as the plain pipeline does."""


@dataclass(frozen=True, slots=True)
class Row:
    """One question, asked."""

    question: str
    sources_seconds: float | None
    first_text_seconds: float | None
    first_sentence_seconds: float | None
    total_seconds: float
    written_tokens: int = 0
    parts: dict[str, float] = field(default_factory=dict)
    """Seconds by what was done, for ours."""


def ours_warm(questions: Sequence[str]) -> Iterator[Row]:
    """Every paper was read before."""
    with Assistant() as assistant:
        assistant.warm(list(assistant.store.papers()))
        assistant.ask(questions[0])
        for question in questions:
            with _stopwatch() as parts:
                answer = assistant.ask(question)
            yield _row(answer, parts)


def ours_cold(questions: Sequence[str]) -> Iterator[Row]:
    """The model is loaded, and has never seen a paper."""
    for question in questions:
        with (
            tempfile.TemporaryDirectory() as states,
            Assistant(states_dir=Path(states)) as assistant,
        ):
            assistant.warm([])
            assistant.search(question)
            yield _row(assistant.ask(question), {})


def plain(questions: Sequence[str]) -> Iterator[Row]:
    """Four abstracts in one prompt."""
    with Assistant() as assistant, open_plain(assistant) as pipeline:
        pipeline.ask(questions[0])
        for question in questions:
            yield _row(pipeline.ask(question), {})


def llama_index(questions: Sequence[str]) -> Iterator[Row]:  # noqa: C901 - two small classes
    """The citation engine of LlamaIndex, with our retrieval and the same model file."""
    from llama_cpp import Llama as LlamaCpp
    from llama_index.core import Settings
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.embeddings import MockEmbedding
    from llama_index.core.llms import (
        CompletionResponse,
        CompletionResponseGen,
        CustomLLM,
        LLMMetadata,
    )
    from llama_index.core.query_engine import CitationQueryEngine
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    settings = load_settings()
    model = LlamaCpp(
        str(resolve(settings.model, settings.models_dir)), n_ctx=6144, verbose=False, n_threads=2
    )

    class Local(CustomLLM):
        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata(context_window=6144, num_output=256, model_name=settings.model)

        def complete(self, prompt: str, **_: Any) -> CompletionResponse:
            return CompletionResponse(text="".join(self._pieces(prompt)))

        def stream_complete(self, prompt: str, **_: Any) -> CompletionResponseGen:
            text = ""
            for piece in self._pieces(prompt):
                text += piece
                yield CompletionResponse(text=text, delta=piece)

        @staticmethod
        def _pieces(prompt: str) -> Iterator[str]:
            messages = [{"role": "user", "content": prompt}]
            model.reset()
            for chunk in model.create_chat_completion(
                messages, max_tokens=256, temperature=0.0, stream=True
            ):
                yield chunk["choices"][0]["delta"].get("content") or ""

    with Assistant() as assistant:
        found: list[float] = []

        class Retriever(BaseRetriever):
            def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
                passages = assistant.search(query_bundle.query_str, PAPERS)
                found.append(time.perf_counter())
                return [
                    NodeWithScore(
                        node=TextNode(text=f"{p.paper.title}\n{p.paper.abstract}"), score=p.score
                    )
                    for p in passages
                ]

        Settings.llm, Settings.embed_model = Local(), MockEmbedding(embed_dim=8)
        engine = CitationQueryEngine.from_args(
            None,
            llm=Settings.llm,
            retriever=Retriever(),
            citation_chunk_size=CITATION_CHUNK_CHARACTERS,
            streaming=True,
        )
        for question in [questions[0], *questions]:
            started = time.perf_counter()
            first, text = None, ""
            for piece in engine.query(question).response_gen:
                first = first or time.perf_counter()
                text += piece
            ended = time.perf_counter()
            if len(found) > 1:
                yield Row(
                    question,
                    found[-1] - started,
                    first and first - started,
                    None,
                    ended - started,
                    len(model.tokenize(text.encode(), add_bos=False)),
                )


def limits() -> dict[str, float]:
    """What llama.cpp itself does with this model and these threads, in tokens a second."""
    settings = load_settings()
    with opened(resolve(settings.model, settings.models_dir), sequences=1) as model:
        text = "The papers say what they say and nothing else. " * 100
        tokens = model.tokenize(text)[:PREFILL_TOKENS]
        model.decode([Span(0, 0, tokens)])
        prefill, decode = [], []
        for _ in range(3):
            model.cut_sequence(0)
            started = time.perf_counter()
            logits = model.decode([Span(0, 0, tokens)])
            prefill.append(len(tokens) / (time.perf_counter() - started))
            started = time.perf_counter()
            for position in range(len(tokens), len(tokens) + DECODE_TOKENS):
                logits = model.decode([Span(0, position, [int(logits[0].argmax())])])
            decode.append(DECODE_TOKENS / (time.perf_counter() - started))
    return {"prefill": sorted(prefill)[1], "decode": sorted(decode)[1], "reading": _reading()}


def _reading() -> float:
    """Tokens a second of papers that are read ahead, with all that is kept of them."""
    settings = load_settings()
    prompts = load_prompts(resource("prompts/answer.toml"))
    with (
        tempfile.TemporaryDirectory() as states,
        Assistant() as assistant,
        opened(resolve(settings.model, settings.models_dir)) as model,
    ):
        papers = list(assistant.store.papers())[: READ_PAPERS + 1]
        reader = Reader(
            model,
            prompts,
            lambda name: StateCache(Path(states) / name, disk_bytes=10**9, memory_bytes=10**8),
        )
        reader.read(papers[:1])
        reader.start_counting()
        started = time.perf_counter()
        for paper in papers[1:]:
            reader.read([paper])
        return reader.counts.prefilled / (time.perf_counter() - started)


SYSTEMS: dict[str, Callable[[Sequence[str]], Iterator[Row]]] = {
    "ours, papers read before": ours_warm,
    "ours, papers never read": ours_cold,
    "plain pipeline": plain,
    "LlamaIndex CitationQueryEngine": llama_index,
}


def _row(answer: Answer, parts: dict[str, float]) -> Row:
    return Row(
        answer.question,
        answer.timings.retrieved_seconds,
        answer.timings.first_text_seconds,
        answer.timings.first_sentence_seconds,
        answer.timings.total_seconds,
        answer.tokens.decoded,
        parts,
    )


_PARTS: tuple[tuple[type, str, str], ...] = (
    (Store, "search", "retrieval"),
    (Llama, "load_sequence", "states into the cache"),
    (Llama, "weigh", "question: ranking, probe, begin of the answer"),
    (Llama, "decode", "decode"),
    (Evidence, "check", "verification"),
    (Reader, "read", "reading papers (with states)"),
)


@contextlib.contextmanager
def _stopwatch() -> Iterator[dict[str, float]]:
    """Seconds spent in the parts of an answer."""
    parts = dict.fromkeys((name for _, _, name in _PARTS), 0.0)
    originals = [(owner, method, getattr(owner, method)) for owner, method, _ in _PARTS]

    def timed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                parts[name] += time.perf_counter() - started

        return call

    for owner, method, name in _PARTS:
        setattr(owner, method, timed(getattr(owner, method), name))
    try:
        yield parts
    finally:
        for owner, method, function in originals:
            setattr(owner, method, function)
