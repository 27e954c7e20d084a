"""The API as its clients meet it: a real server, real clients, clients that misbehave."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from assistant import Assistant
from assistant.errors import SettingsError
from assistant.serving import asking, gate
from assistant.serving.api_models import AnswerBody
from assistant.serving.gate import Access
from assistant.types import Done, Event
from tests.assistant.serving import PATIENCE_SECONDS, eventually, served
from tests.fakes import (
    PAPERS,
    ScriptedAssistant,
    abstained_story,
    answered_story,
    default_stories,
    hostile_story,
)
from vectorstore.filters import filters

KEY = "correct horse battery staple"
MODEL = "abstract-assistant"


@pytest.fixture
def scripted() -> ScriptedAssistant:
    return ScriptedAssistant(default_stories(), papers=len(PAPERS))


@pytest.fixture
def address(scripted: ScriptedAssistant) -> Iterator[str]:
    with served(scripted) as url:
        yield url


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=PATIENCE_SECONDS, trust_env=False) as client:
        yield client


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as made:
        yield made


def said(question: str, *earlier: str) -> list[Any]:
    return [{"role": "user", "content": text} for text in (*earlier, question)]


# OpenAI's client


def test_openais_client_gets_text_and_citations(client: openai.OpenAI) -> None:
    got = client.chat.completions.create(model=MODEL, messages=said("How fast is it?"))
    message = got.choices[0].message
    assert message.content == (
        "On a laptop with two cores, Larch answers in 5.7 seconds instead of 38. [1]\n\n"
        "Numbers are the most frequent error. [2]"
    )
    assert got.choices[0].finish_reason == "stop"
    assert got.usage is not None
    assert got.usage.total_tokens == 1120
    assert message.annotations is not None
    for annotation, paper in zip(message.annotations, PAPERS, strict=False):
        ours = annotation.model_dump()["paper_citation"]
        assert annotation.url_citation.url == paper.url
        assert paper.abstract[ours["start"] : ours["end"]] == ours["quote"]


@pytest.mark.parametrize("question", ["How fast is it?", "What do swans eat?", "And how large?"])
def test_a_stream_says_the_same_as_the_whole(client: openai.OpenAI, question: str) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=said(question))
    with client.chat.completions.stream(
        model=MODEL, messages=said(question), stream_options={"include_usage": True}
    ) as stream:
        streamed = stream.get_final_completion()
    assert streamed.choices[0].message.content == whole.choices[0].message.content
    assert streamed.choices[0].message.annotations == whole.choices[0].message.annotations
    assert streamed.choices[0].finish_reason == "stop"
    assert streamed.usage == whole.usage


def test_the_stream_is_what_other_clients_parse(http: httpx.Client) -> None:
    """Line by line, as Open WebUI and editors do, which take the annotations of any delta."""
    body = {"model": MODEL, "messages": said("How fast is it?"), "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=body) as got:
        assert got.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in got.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant"
    assert sum(bool(delta.get("content")) for delta in deltas) == 2, "a sentence at a time"
    quotes = [
        annotation["paper_citation"]["quote"]
        for delta in deltas
        for annotation in delta.get("annotations", ())
    ]
    assert quotes[1:] == ["Numbers are the most frequent error."]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-2:] == [None, "stop"]


def test_earlier_questions_go_along(client: openai.OpenAI, scripted: ScriptedAssistant) -> None:
    client.chat.completions.create(
        model=MODEL, messages=said("And how large?", "How fast is it?"), temperature=0.0
    )
    assert scripted.asked == [("And how large?", ("How fast is it?",))]


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-4'") as raised:
        client.chat.completions.create(model="gpt-4", messages=said("?"))
    assert raised.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")


def test_a_parameter_that_would_change_the_answer_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model=MODEL, messages=said("How fast?"), n=2)
    assert raised.value.param == "n"


def test_an_error_before_the_first_word_has_a_status(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match="something went wrong") as raised:
        client.chat.completions.create(model=MODEL, messages=said("crash"), stream=True)
    assert "secret" not in str(raised.value)


def test_an_error_behind_it_reaches_the_reader(client: openai.OpenAI) -> None:
    with (
        pytest.raises(openai.APIError, match="not on this machine") as raised,
        client.chat.completions.create(model=MODEL, messages=said("broken"), stream=True) as stream,
    ):
        list(stream)
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["hint"] == "assistant models pull qwen2.5"


def test_hostile_papers_stay_text(client: openai.OpenAI) -> None:
    got = client.chat.completions.create(model=MODEL, messages=said("What is the number?"))
    message = got.choices[0].message
    assert "<img" not in (message.content or "")
    assert message.annotations is not None
    assert message.annotations[0].url_citation.url.startswith("http://127.0.0.1:")


# The REST API


def test_asking_gives_the_contract(http: httpx.Client) -> None:
    got = http.post("/v1/ask", json={"question": "How fast is it?", "history": ["Larch?"]})
    done = answered_story()[-1]
    assert isinstance(done, Done)
    assert got.json() == done.answer.as_dict()


@pytest.mark.parametrize("story", [answered_story(), abstained_story(), hostile_story()])
def test_the_answer_of_the_description_is_the_contract(story: list[Event]) -> None:
    done = story[-1]
    assert isinstance(done, Done)
    fields = done.answer.as_dict()
    assert AnswerBody.model_validate(fields).model_dump() == fields


def test_events_come_one_by_one(http: httpx.Client) -> None:
    body = {"question": "What do swans eat?", "stream": True}
    with http.stream("POST", "/v1/ask", json=body) as got:
        events = [json.loads(line[6:]) for line in got.iter_lines() if line]
    assert [each["type"] for each in events] == ["queued", "retrieved", "probed", "probed", "done"]
    assert events[-1]["answer"]["status"] == "abstained"


def test_papers_are_found_listed_and_shown(http: httpx.Client) -> None:
    found = http.post("/v1/search", json={"query": "weather", "top_k": 1}).json()["passages"]
    assert [each["paper"]["id"] for each in found] == ["heron"]
    page = http.get("/v1/papers", params={"offset": 1, "limit": 2}).json()
    assert [each["id"] for each in page["papers"]] == ["finch", "alder"]
    assert page["total"] == 4
    assert http.get("/v1/papers/larch").json()["abstract"] == PAPERS[0].abstract


def test_a_text_is_checked_sentence_by_sentence(http: httpx.Client) -> None:
    text = "On a laptop, Larch answers in 5.7 seconds instead of 38. Larch answers in 3 seconds."
    for paper in ("larch", PAPERS[0].title):
        found = http.post("/v1/check", json={"text": text, "paper": paper}).json()["sentences"]
        assert [each["verdict"] == "supported" for each in found] == [True, False]
        (citation,) = found[0]["citations"]
        quote = PAPERS[0].abstract[citation["start"] : citation["end"]]
        assert citation["quote"] == quote
        assert "3" in found[1]["reason"]
    assert http.post("/v1/check", json={"text": " "}).status_code in (400, 422)


WHERE = {
    "from_year": 2020,
    "authors": ["Kim"],
    "metadata": [
        {"field": "category", "operator": "=", "value": "cs.CL"},
        {"field": "upvotes", "operator": ">=", "value": 50},
    ],
}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/search", {"query": "weather"}),
        ("/v1/check", {"text": "Larch is fast."}),
        ("/v1/ask", {"question": "How fast?"}),
        ("/v1/ask", {"question": "How fast?", "stream": True}),
        ("/v1/chat/completions", {"model": MODEL, "messages": said("How fast?")}),
        ("/v1/chat/completions", {"model": MODEL, "messages": said("How fast?"), "stream": True}),
    ],
)
def test_filters_go_along(
    http: httpx.Client, scripted: ScriptedAssistant, path: str, body: dict[str, Any]
) -> None:
    assert http.post(path, json={**body, "where": WHERE}).is_success
    assert http.post(path, json={**body, "where": {}}).is_success
    wanted = filters(year="2020..", authors=["Kim"], where=["category=cs.CL", "upvotes>=50.0"])
    assert scripted.filters == [wanted, None]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/v1/papers/no/such", None, 404, "no paper 'no/such'"),
        ("GET", "/v1/nothing", None, 404, "not found"),
        ("DELETE", "/v1/papers", None, 405, "method not allowed"),
        ("GET", "/v1/papers?limit=0", None, 400, "limit: "),
        ("POST", "/v1/ask", b"{", 400, ""),
        ("POST", "/v1/ask", b'{"question": "?", "top": 1}', 400, "top: "),
        ("POST", "/v1/ask", b"x" * 1_100_000, 413, "the request is too large"),
    ],
)
def test_an_error_says_what_and_what_now(
    http: httpx.Client, method: str, path: str, body: bytes | None, status: int, message: str
) -> None:
    headers = {"content-type": "application/json"}
    got = http.request(method, path, content=body, headers=headers)
    assert got.status_code == status
    error = got.json()["error"]
    assert error["message"].startswith(message)
    assert error["hint"]


def test_a_body_without_an_announced_length_is_limited_too(http: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    headers = {"content-type": "application/json"}
    assert http.post("/v1/ask", content=pieces(), headers=headers).status_code == 413


# Keys, rates, hosts


@pytest.mark.parametrize(
    ("authorization", "path", "status"),
    [
        (f"Bearer {KEY}", "/v1/models", 200),
        (f"bearer {KEY}", "/v1/papers", 200),
        ("Bearer wrong", "/v1/models", 401),
        ("Bearer", "/v1/models", 401),
        (None, "/v1/models", 401),
        (None, "/metrics", 401),
        (None, "/mcp", 401),
        (None, "/openapi.json", 401),
        (None, "/anything", 401),
        (None, "/health", 200),
        ("Basic " + "YTpjb3JyZWN0IGhvcnNlIGJhdHRlcnkgc3RhcGxl", "/v1/models", 401),
        ("Basic " + "YTpjb3JyZWN0IGhvcnNlIGJhdHRlcnkgc3RhcGxl", "/anything", 404),
        ("Basic %%%", "/anything", 401),
    ],
)
def test_the_key_opens_everything_but_the_health(
    scripted: ScriptedAssistant, authorization: str | None, path: str, status: int
) -> None:
    headers = {"authorization": authorization} if authorization else {}
    with served(scripted, Access(key=KEY)) as url:
        got = httpx.get(url + path, headers=headers, trust_env=False)
    assert got.status_code == status
    if status == 401:
        assert got.headers["www-authenticate"].startswith(
            "Basic" if path == "/anything" else "Bearer"
        )
        assert got.json()["error"]["hint"]


def test_openais_client_is_told_that_its_key_is_wrong(scripted: ScriptedAssistant) -> None:
    with (
        served(scripted, Access(key=KEY)) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        client.models.list()
    assert raised.value.code == "invalid_api_key"


def test_other_machines_need_a_key() -> None:
    with pytest.raises(SettingsError, match="no API key") as raised:
        Access(host="0.0.0.0")
    assert "ASSISTANT_API_KEY" in raised.value.hint
    assert Access(host="0.0.0.0", key=KEY).hosts == ["*"]


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="'often' is no rate limit"):
        Access(rate_limit="often")


def test_who_asks_too_often_is_told_when_to_come_back(scripted: ScriptedAssistant) -> None:
    with served(scripted, Access(rate_limit="2/minute")) as url:
        statuses = [httpx.get(f"{url}/v1/models", trust_env=False) for _ in range(3)]
        assert [each.status_code for each in statuses] == [200, 200, 429]
        assert 1 <= int(statuses[-1].headers["retry-after"]) <= 60
        assert httpx.get(f"{url}/health", trust_env=False).status_code == 200


def test_the_key_cannot_be_guessed_for_long(scripted: ScriptedAssistant) -> None:
    with served(scripted, Access(key=KEY, rate_limit="2/minute")) as url:
        guesses = [
            httpx.get(f"{url}/v1/models", headers={"authorization": f"Bearer {n}"}, trust_env=False)
            for n in range(3)
        ]
    assert [each.status_code for each in guesses] == [401, 401, 429]


def test_a_foreign_name_does_not_reach_the_server(http: httpx.Client) -> None:
    assert http.get("/v1/models", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(("origins", "allowed"), [((), None), (("https://a.example",),) * 2])
def test_web_sites_may_not_ask_unless_they_are_named(
    scripted: ScriptedAssistant, origins: tuple[str, ...], allowed: tuple[str, ...] | None
) -> None:
    headers = {
        "origin": "https://a.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    with served(scripted, Access(origins=origins)) as url:
        got = httpx.options(f"{url}/v1/ask", headers=headers, trust_env=False)
        plain = httpx.post(
            f"{url}/v1/ask",
            content=b'{"question": "How fast?"}',
            headers={"origin": "https://a.example", "content-type": "text/plain"},
            trust_env=False,
        )
    assert got.is_success == bool(allowed)
    assert got.headers.get("access-control-allow-origin") == (allowed[0] if allowed else None)
    assert plain.status_code == 400, "a site may send such a request without asking"
    assert scripted.asked == []


# Clients that misbehave


def leave(address: str, path: str, body: dict[str, Any], *, reading: bool) -> None:
    """Ask, and hang up: behind the first bytes of the response, or before there are any."""
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    )
    port = int(address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection:
        connection.sendall(head.encode() + data)
        if reading:
            assert connection.recv(100)
        else:
            time.sleep(0.3)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/v1/ask", "/v1/chat/completions"])
def test_the_model_stops_when_its_client_leaves(
    address: str, scripted: ScriptedAssistant, path: str, stream: bool
) -> None:
    scripted.pause_seconds = 0.01
    body = {"question": "endless", "stream": stream}
    if path.startswith("/v1/chat"):
        body = {"model": MODEL, "messages": said("endless"), "stream": stream}
    leave(address, path, body, reading=stream)
    assert scripted.went_on.wait(PATIENCE_SECONDS)
    assert scripted.closed == ["endless"]
    eventually(lambda: metric(address, 'assistant_questions_total{status="stopped"}') == 1)
    eventually(lambda: metric(address, "assistant_open_questions") == 0)


def metric(address: str, name: str) -> float | None:
    text = httpx.get(f"{address}/metrics", trust_env=False).text
    found = [line for line in text.splitlines() if line.startswith(name + " ")]
    return float(found[0].rpartition(" ")[2]) if found else None


def test_a_client_that_never_ends_its_request_is_let_go(
    scripted: ScriptedAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.5)
    with served(scripted) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as slow:
            slow.sendall(
                b"POST /v1/ask HTTP/1.1\r\nhost: localhost\r\n"
                b"content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"
            )
            assert slow.recv(100).startswith(b"HTTP/1.1 408")
        assert httpx.get(f"{url}/health", trust_env=False).json() == {"status": "ok"}


def test_too_many_questions_are_turned_away(
    address: str, scripted: ScriptedAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MOST_OPEN", 1)
    scripted.pause_seconds = 0.01
    with httpx.stream(
        "POST", f"{address}/v1/ask", json={"question": "endless", "stream": True}, trust_env=False
    ) as first:
        lines = first.iter_lines()
        assert next(lines)
        refused = httpx.post(f"{address}/v1/ask", json={"question": "fast?"}, trust_env=False)
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    eventually(lambda: metric(address, "assistant_open_questions") == 0)
    again = httpx.post(f"{address}/v1/ask", json={"question": "fast?"}, trust_env=False)
    assert again.status_code == 200


def test_a_quiet_stream_shows_that_it_lives(
    address: str, scripted: ScriptedAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant.serving.api.SILENCE_SECONDS", 0.05)
    scripted.pause_seconds = 0.2
    with httpx.stream(
        "POST",
        f"{address}/v1/ask",
        json={"question": "What do swans eat?", "stream": True},
        timeout=PATIENCE_SECONDS,
        trust_env=False,
    ) as got:
        lines = [line for line in got.iter_lines() if line]
    assert any(line.startswith(":") for line in lines)
    assert [json.loads(line[6:])["type"] for line in lines if line[0] != ":"][-1] == "done"


def test_many_clients_each_get_their_own_answer(address: str) -> None:
    questions = ["How fast is it?", "What do swans eat?", "And how large?"] * 5
    answers: dict[int, str] = {}

    def ask(number: int, question: str) -> None:
        got = httpx.post(f"{address}/v1/ask", json={"question": question}, trust_env=False)
        answers[number] = got.json()["text"][:10]

    threads = [threading.Thread(target=ask, args=each) for each in enumerate(questions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    expected = {"How": "On a lapto", "Wha": "The papers", "And": "States tak"}
    assert answers == {n: expected[question[:3]] for n, question in enumerate(questions)}


# The real thing


def test_openais_client_asks_the_real_model(assistant: Assistant) -> None:
    question = "How many datasets does BenchX include?"
    with (
        served(assistant) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=120) as client,
        client.chat.completions.stream(model=MODEL, messages=said(question)) as stream,
    ):
        message = stream.get_final_completion().choices[0].message
        only = [passage.paper.id for passage in assistant.search("editing of faces", 2)][1:]
        found = httpx.post(
            f"{url}/v1/search",
            json={"query": "editing of faces", "where": {"ids": only}},
            trust_env=False,
        )
    assert [each["paper"]["id"] for each in found.json()["passages"]] == only
    assert "nine" in (message.content or "") or "9" in (message.content or "")
    assert message.annotations
    for annotation in message.annotations:
        ours = annotation.model_dump()["paper_citation"]
        paper = assistant.store.paper(ours["paper_id"])
        assert paper.abstract[ours["start"] : ours["end"]] == ours["quote"]
        assert annotation.url_citation.title == paper.title


def test_a_page_may_send_along_the_names_of_many_papers(http: httpx.Client) -> None:
    path = "/gradio_api/queue/join"  # of the page, which is not served here
    assert http.post(path, content=b"x" * 1_100_000).status_code == 404
    assert http.post(path, content=b"x" * 16_100_000).status_code == 413
