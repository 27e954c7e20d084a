"""The OpenAPI description is kept: whatever fits it, or does not, gets what it promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from assistant.serving.api import build_api
from assistant.serving.asking import Desk
from assistant.serving.gate import Access
from assistant.serving.metrics import Metrics
from tests.assistant.serving import served
from tests.fakes import PAPERS, ScriptedAssistant, answered_story

SCRIPTED = ScriptedAssistant({"": answered_story()}, papers=len(PAPERS))
DESCRIPTION = build_api(Desk(SCRIPTED, Metrics())).openapi()

schema = schemathesis.openapi.from_dict(DESCRIPTION)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(SCRIPTED, Access(rate_limit="100000/second")) as url:
        yield url


@schema.parametrize()
@settings(max_examples=settings().max_examples // 6, suppress_health_check=list(HealthCheck))
def test_every_operation_keeps_its_description(case: Any, address: str) -> None:
    # No schema can say that the last message must be the user's.
    unsaid = [positive_data_acceptance] if case.path == "/v1/chat/completions" else []
    case.call_and_validate(base_url=address, excluded_checks=unsaid)


def test_every_path_is_described() -> None:
    assert DESCRIPTION["paths"].keys() == {
        "/health",
        "/v1/ask",
        "/v1/chat/completions",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/papers",
        "/v1/papers/{paper_id}",
        "/v1/check",
        "/v1/search",
    }
