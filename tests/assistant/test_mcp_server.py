"""MCP as its official client meets it, over both transports."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from assistant.serving.gate import Access
from tests.assistant.serving import PATIENCE_SECONDS, eventually, served
from tests.fakes import PAPERS, ScriptedAssistant, default_stories

ROOT = Path(__file__).resolve().parents[2]
KEY = "correct horse battery staple"


@asynccontextmanager
async def over_stdio() -> AsyncIterator[Client]:
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "tests.assistant.scripted_cli", "mcp"], cwd=ROOT
    )
    async with Client(stdio_client(command)) as client:
        yield client


@asynccontextmanager
async def over_http() -> AsyncIterator[Client]:
    with served(ScriptedAssistant(default_stories(), papers=len(PAPERS))) as url:
        async with Client(f"{url}/mcp") as client:
            yield client


def run(work: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(work, 2 * PATIENCE_SECONDS)

    asyncio.run(limited())


@pytest.mark.parametrize("connected", [over_stdio, over_http])
def test_the_official_client_uses_every_tool(connected: Callable[[], Any]) -> None:
    async def use() -> None:
        async with connected() as client:
            tools = (await client.list_tools()).tools
            assert {tool.name for tool in tools} == {
                "ask",
                "check",
                "search",
                "get_paper",
                "list_papers",
            }
            assert all(tool.output_schema and tool.description for tool in tools)
            await _use_tools(client)

    run(use())


async def _use_tools(client: Client) -> None:
    asked = await client.call_tool("ask", {"question": "How fast is it?"})
    assert not asked.is_error
    answer = asked.structured_content
    assert answer is not None
    assert answer["status"] == "answered"
    papers = {paper.id: paper for paper in PAPERS}
    for each in answer["citations"]:
        assert papers[each["paper_id"]].abstract[each["start"] : each["end"]] == each["quote"]
    assert answer["citations"][0]["quote"] in asked.content[0].text  # type: ignore[union-attr]

    declined = await client.call_tool("ask", {"question": "What do swans eat?"})
    assert (declined.structured_content or {})["status"] == "abstained"

    found = await client.call_tool("search", {"query": "weather", "top_k": 1})
    passages = (found.structured_content or {})["passages"]
    assert [each["paper"]["id"] for each in passages] == ["heron"]

    shown = await client.call_tool("get_paper", {"paper_id": "larch"})
    assert (shown.structured_content or {})["abstract"] == PAPERS[0].abstract

    listed = await client.call_tool("list_papers", {"offset": 1, "limit": 2})
    page = listed.structured_content or {}
    assert [each["id"] for each in page["papers"]] == ["finch", "alder"]

    for name, arguments, words in (
        ("get_paper", {"paper_id": "none"}, "no paper 'none'"),
        ("ask", {"question": "broken"}, "assistant models pull qwen2.5"),
        ("ask", {"question": ""}, "question"),
        ("search", {"query": "weather", "top_k": 0}, "top_k"),
    ):
        failed = await client.call_tool(name, arguments)
        assert failed.is_error
        assert words in failed.content[0].text  # type: ignore[union-attr]


def test_a_failure_inside_tells_nothing_of_it() -> None:
    async def use() -> None:
        async with over_http() as client:
            failed = await client.call_tool("ask", {"question": "crash"})
            assert failed.is_error
            assert "secret" not in failed.content[0].text  # type: ignore[union-attr]

    run(use())


@pytest.mark.parametrize("key", [KEY, "wrong"])
def test_over_http_the_key_is_asked_for(key: str) -> None:
    async def use() -> None:
        headers = {"authorization": f"Bearer {key}"}
        scripted = ScriptedAssistant(default_stories(), papers=len(PAPERS))
        with served(scripted, Access(key=KEY)) as url:
            async with (
                httpx2.AsyncClient(headers=headers, trust_env=False) as http,
                Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
            ):
                assert (await client.list_tools()).tools

    if key == KEY:
        run(use())
    else:
        with pytest.raises((MCPError, BaseExceptionGroup)):
            run(use())


def test_the_model_stops_when_its_mcp_client_leaves() -> None:
    scripted = ScriptedAssistant(default_stories(), papers=len(PAPERS), pause_seconds=0.01)
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "ask", "arguments": {"question": "endless"}},
    }
    headers = {"accept": "application/json, text/event-stream"}
    with served(scripted) as url:
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(f"{url}/mcp", json=call, headers=headers, timeout=1, trust_env=False)
        assert scripted.went_on.wait(PATIENCE_SECONDS)
    assert scripted.closed == ["endless"]


def test_a_cancelled_call_stops_the_model() -> None:
    scripted = ScriptedAssistant(default_stories(), papers=len(PAPERS), pause_seconds=0.01)

    async def use() -> None:
        with served(scripted) as url:
            async with Client(f"{url}/mcp") as client:
                call = asyncio.create_task(client.call_tool("ask", {"question": "endless"}))
                await asyncio.to_thread(eventually, lambda: scripted.asked)
                call.cancel()
                assert await asyncio.to_thread(scripted.went_on.wait, PATIENCE_SECONDS)

    run(use())
    assert scripted.closed == ["endless"]
