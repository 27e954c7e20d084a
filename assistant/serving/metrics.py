"""What the server counts, as Prometheus reads it.

The only importer of prometheus_client. Nothing of what was asked or answered is in here, numbers
only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assistant.types import Answer

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 21, 34, 60, 120)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        from prometheus_client import (
            CollectorRegistry,
            Counter,
            Gauge,
            Histogram,
            ProcessCollector,
        )

        self._registry: CollectorRegistry = CollectorRegistry()
        # Processor time, memory and open files of this process, on Linux.
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "assistant_http_requests",
            "Requests by route and status.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._request_seconds = Histogram(
            "assistant_http_request_seconds",
            "From a request to the end of its response.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._questions = Counter(
            "assistant_questions",
            "Questions of programs, by what became of them.",
            ("status",),
            registry=self._registry,
        )
        self._total_seconds = Histogram(
            "assistant_question_seconds",
            "From a question to its answer.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._first_seconds = Histogram(
            "assistant_question_first_sentence_seconds",
            "From a question to the first verified sentence.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._tokens = Counter(
            "assistant_tokens", "Tokens of the model, by kind.", ("kind",), registry=self._registry
        )
        self.open_questions = Gauge(
            "assistant_open_questions",
            "Questions of programs that are answered or wait.",
            registry=self._registry,
        )

    def answered(self, answer: Answer) -> None:
        """Note what an answer or an abstention took."""
        self._total_seconds.observe(answer.timings.total_seconds)
        if answer.timings.first_sentence_seconds is not None:
            self._first_seconds.observe(answer.timings.first_sentence_seconds)
        for kind in ("reused", "prefilled", "decoded"):
            self._tokens.labels(kind).inc(getattr(answer.tokens, kind))

    def ended(self, status: str) -> None:
        """Count a question: ``answered``, ``abstained``, ``stopped`` or ``failed``."""
        self._questions.labels(status).inc()

    def responded(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a response; ``route`` is a template, so that there are few of them."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def text(self) -> tuple[bytes, str]:
        """All of it, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST
