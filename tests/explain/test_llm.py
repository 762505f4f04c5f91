"""One request through the real openai package to a local server that does what LLM servers do on bad days."""

from __future__ import annotations

import logging
import sys
import time
import traceback
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from edge_monitor.config.settings import ExplainSettings
from edge_monitor.errors import LlmError, UselessAnswerError
from edge_monitor.explain.llm import LlmClient, Message, retry_after_s
from tests import llm_server
from tests.broker import free_port
from tests.llm_server import GOOD, LlmServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.llm_server import Behaviour

KEY = "sk-canary-0123456789"
ASKED = [Message("user", "What is it?")]


@pytest.fixture(autouse=True)
def key_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the key where the settings say, and no other settings of the openai package or of a proxy."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PLANT_KEY", KEY)


def settings(base_url: str | None, **values: object) -> ExplainSettings:
    """Return settings for a server, with the key in the environment unless said otherwise."""
    return ExplainSettings.model_validate(
        {"llm": "openai", "base_url": base_url, "api_key_env": "PLANT_KEY", "model": "played-1", **values}
    )


def ask(behaviour: Behaviour, timeout_s: float = 5.0) -> tuple[str, LlmServer]:
    """Return the answer to one request, and the server that gave it."""
    with LlmServer(behaviour) as server:
        return LlmClient(settings(server.base_url)).ask(ASKED, timeout_s), server


def failure(behaviour: Behaviour, timeout_s: float = 5.0) -> LlmError:
    """Return the error that one request ends with; exactly one was made."""
    with LlmServer(behaviour) as server:
        with pytest.raises(LlmError) as caught:
            LlmClient(settings(server.base_url)).ask(ASKED, timeout_s)
        assert len(server.requests) == 1
    return caught.value


def test_a_request_holds_the_conversation_and_nothing_of_the_box() -> None:
    """Model, messages, temperature and a limit go out: no tools, no stored copy, no word of system or architecture."""
    answer, server = ask(llm_server.says(GOOD))
    assert answer == GOOD
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.body == {
        "model": "played-1",
        "messages": [{"role": "user", "content": "What is it?"}],
        "temperature": 0,
        "max_tokens": 200,
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert {name for name in request.headers if name.startswith("x-")} == {"x-stainless-raw-response"}


def test_openai_itself_is_asked_in_its_own_words() -> None:
    """There the limit has another name, and nothing is to be stored."""
    assert LlmClient(settings(None))._request(ASKED) == {
        "model": "played-1",
        "messages": [{"role": "user", "content": "What is it?"}],
        "temperature": 0,
        "max_completion_tokens": 200,
        "store": False,
    }


def test_without_a_key_none_is_sent_whatever_the_environment_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server in the plant never gets the key of an OpenAI account, nor do requests go where a variable says."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
    with LlmServer(llm_server.says(GOOD)) as server:
        assert LlmClient(settings(server.base_url, api_key_env=None)).ask(ASKED, 5.0) == GOOD
    assert "authorization" not in server.requests[0].headers


def test_a_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY leads to the proxy, which gets the whole address."""
    with LlmServer(llm_server.says(GOOD)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
        assert LlmClient(settings("http://llm.invalid/v1")).ask(ASKED, 5.0) == GOOD
    assert proxy.requests[0].path == "http://llm.invalid/v1/chat/completions"


@pytest.mark.parametrize(
    ("behaviour", "message", "retryable"),
    [
        (llm_server.refuses(429), "the LLM's server answered 429 (Too Many Requests)", True),
        (llm_server.refuses(408), "the LLM's server answered 408 (Request Timeout)", True),
        (llm_server.refuses(500), "the LLM's server answered 500 (Internal Server Error)", True),
        (llm_server.refuses(502), "the LLM's server answered 502 (Bad Gateway)", True),
        (llm_server.refuses(503), "the LLM's server answered 503 (Service Unavailable)", True),
        (llm_server.refuses(504), "the LLM's server answered 504 (Gateway Timeout)", True),
        (llm_server.refuses(529), "the LLM's server answered 529 (no known status)", True),
        (llm_server.refuses(400, message="no such\nparameter"), "400 (Bad Request): no such parameter", False),
        (llm_server.refuses(401, message="wrong key sk-can***789"), "answered 401 (Unauthorized)", False),
        (llm_server.refuses(403, message="not for you"), "answered 403 (Forbidden)", False),
        (llm_server.refuses(404, message="no model x"), "answered 404 (Not Found): no model x", False),
        (llm_server.resets(), "the LLM's server broke the connection", True),
    ],
)
def test_a_refusal_is_told_in_one_short_line(behaviour: Behaviour, message: str, retryable: bool) -> None:
    """With the status; with the server's words only where they say what is wrong with the request."""
    error = failure(behaviour)
    assert error.message.endswith(message)
    assert (error.retryable, error.sent, error.after_s) == (retryable, True, None)


def test_the_wished_rest_comes_with_the_refusal() -> None:
    """Retry-After reaches whoever waits."""
    assert failure(llm_server.refuses(429, retry_after="7")).after_s == 7.0
    assert failure(llm_server.refuses(503, retry_after="Fri, 31 Dec 1999 23:59:59 GMT")).after_s == 0.0


NEW_YEAR_S = 946_684_800.0  # 2000-01-01 00:00:00 UTC


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "9" * 400}, 999_999_999.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Sat, 01 Jan 2000 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:00 GMT"}, 0.0),
        ({"retry-after": "Sat, 01 Jan 2000 00:00:30 GMT", "date": "Sat, 01 Jan 2000 00:00:20 GMT"}, 10.0),
        ({"retry-after": "Sat, 99 Jan 99999999999 00:00:30 GMT"}, None),
    ],
)
def test_both_forms_of_retry_after_are_read(headers: dict[str, str], after_s: float | None) -> None:
    """Seconds, or a time of day beside the server's own clock; anything else is no wish."""
    assert retry_after_s(headers, NEW_YEAR_S) == after_s


def test_a_redirect_is_not_followed() -> None:
    """Neither the prompt nor the key goes to a server that nobody configured."""
    with LlmServer(llm_server.says(GOOD)) as elsewhere:
        error = failure(llm_server.redirects(f"{elsewhere.base_url}/chat/completions"))
        assert elsewhere.requests == []
    assert str(error) == ("the LLM's server answered 307 (Temporary Redirect) (it redirects: check explain.base_url)")
    assert not error.retryable


BIG = llm_server.completion("x" * 1_000_000)


@pytest.mark.parametrize(
    "behaviour",
    [
        llm_server.stalls(60),
        llm_server.dribbles(BIG, chunk=1000, every_s=0.05),
        llm_server.dribbles(BIG, chunk=1, every_s=60),
    ],
    ids=["says nothing", "trickles", "stalls in the answer"],
)
def test_a_slow_server_is_left_in_time(behaviour: Behaviour) -> None:
    """A minute of silence and a megabyte in drops both end with the request's own time."""
    begin_s = time.monotonic()
    error = failure(behaviour, timeout_s=0.5)
    assert time.monotonic() - begin_s < 1.5
    assert error.message == "the LLM's server did not answer in time"
    assert (error.retryable, error.sent) == (True, True)


def test_a_refusal_that_trickles_is_left_in_time_as_well() -> None:
    """The status is told, the rest of its page not waited for."""
    begin_s = time.monotonic()
    error = failure(llm_server.dribbles(BIG, chunk=100, every_s=0.05, status=400), timeout_s=0.5)
    assert time.monotonic() - begin_s < 1.5
    assert error.message == "the LLM's server answered 400 (Bad Request)"


def test_the_configured_timeout_holds_whatever_the_caller_allows() -> None:
    """The shorter of the two counts."""
    with LlmServer(llm_server.stalls(60)) as server:
        begin_s = time.monotonic()
        with pytest.raises(LlmError, match="in time"):
            LlmClient(settings(server.base_url, timeout_s=1.0)).ask(ASKED, 600.0)
        assert 0.9 < time.monotonic() - begin_s < 2.0


def test_an_answer_of_many_megabytes_is_not_read_into_memory() -> None:
    """Reading ends with the first 64 KiB."""
    body = llm_server.completion("x" * 20_000_000)
    ask(llm_server.says(GOOD))  # what is imported on the way is not counted
    tracemalloc.start()
    try:
        error = failure(llm_server.sends(body))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(error, UselessAnswerError)
    assert error.message == "the LLM's answer is longer than 65536 bytes"
    assert peak_bytes < 3_000_000


NO_COMPLETION = "the LLM's server answered with something else than a chat completion"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", NO_COMPLETION),
        (b'{"choices": [', NO_COMPLETION),
        (b"<html>Log in to the plant's network</html>", NO_COMPLETION),
        (b"\xff\xfe", NO_COMPLETION),
        (b"[" * 60_000, NO_COMPLETION),
        (b'{"choices": []}', NO_COMPLETION),
        (b'{"choices": [{"message": {"content": 7}}]}', NO_COMPLETION),
        (b'{"error": {"message": "overloaded"}}', NO_COMPLETION),
        (llm_server.completion(None), "the LLM answered nothing"),
        (llm_server.completion(""), "the LLM answered nothing"),
        (llm_server.completion("\n\x00\u200b "), "the LLM answered nothing"),
    ],
)
def test_an_answer_without_a_text_is_useless(body: bytes, message: str) -> None:
    """Whatever comes with status 200 and is no chat completion with a text."""
    error = failure(llm_server.sends(body))
    assert isinstance(error, UselessAnswerError)
    assert error.message == message


def test_an_answer_that_repeats_the_key_is_useless() -> None:
    """It would be logged, stored and published."""
    error = failure(llm_server.says(f"This sound is {KEY}, rougher."))
    assert isinstance(error, UselessAnswerError)
    assert str(error) == "the LLM's answer repeats the key"


def test_a_server_that_is_not_there_cost_nothing() -> None:
    """The request was surely never sent, and the system's words say why."""
    with pytest.raises(LlmError) as caught:
        LlmClient(settings(f"http://127.0.0.1:{free_port()}/v1")).ask(ASKED, 5.0)
    assert caught.value.message == "the LLM's server cannot be reached: Connection refused"
    assert (caught.value.retryable, caught.value.sent) == (True, False)


def test_a_name_that_nobody_knows_is_told() -> None:
    """As a refused connection."""
    with pytest.raises(LlmError, match=r"^the LLM's server cannot be reached: \S") as caught:
        LlmClient(settings("http://llm.invalid/v1")).ask(ASKED, 5.0)
    assert (caught.value.retryable, caught.value.sent) == (True, False)


@pytest.mark.parametrize(
    "behaviour",
    [
        llm_server.says(GOOD),
        llm_server.refuses(400, message=f"Incorrect API key provided: {KEY}"),
        llm_server.refuses(401, message=f"Incorrect API key provided: {KEY}"),
        llm_server.refuses(500, message=KEY),
        llm_server.resets(),
        llm_server.sends(b"no"),
    ],
    ids=["success", "400 echoes it", "401 echoes it", "500 echoes it", "reset", "no JSON"],
)
def test_the_key_is_in_no_log_and_no_error(
    behaviour: Behaviour, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at DEBUG, not in the traceback of any cause, not in the client's repr."""
    monkeypatch.setenv("PLANT_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with LlmServer(behaviour) as server:
        client = LlmClient(settings(server.base_url))
        told = repr(client)
        try:
            client.ask(ASKED, 5.0)
        except LlmError as error:
            told += "".join(traceback.format_exception(error)) + repr(error) + str(error)
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert "HTTP Request" in caplog.text
    assert KEY not in told + caplog.text


def test_a_broken_proxy_address_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can be asked; the message says what kind of mistake it is."""
    monkeypatch.setenv("HTTP_PROXY", "gopher://user:canary@proxy:70")
    with pytest.raises(LlmError, match=r"^the LLM cannot be asked: ") as caught:
        LlmClient(settings("http://llm.invalid/v1")).ask(ASKED, 5.0)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert (caught.value.retryable, caught.value.sent) == (False, False)


def test_a_new_key_in_the_file_is_used_with_the_next_request(tmp_path: Path) -> None:
    """Rotation needs no restart."""
    path = tmp_path / "key"
    with LlmServer(llm_server.says(GOOD)) as server:
        client = LlmClient(settings(server.base_url, api_key_env=None, api_key_file=path))
        for key in ("sk-old", "sk-new"):
            path.write_text(f"{key} \nnot part of it\n")
            client.ask(ASKED, 5.0)
    assert [each.headers["authorization"] for each in server.requests] == ["Bearer sk-old", "Bearer sk-new"]


def test_the_key_may_be_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LoadCredential= puts it into a folder of the unit's own."""
    (tmp_path / "llm").write_text(KEY)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with LlmServer(llm_server.says(GOOD)) as server:
        LlmClient(settings(server.base_url, api_key_env=None, api_key_credential="llm")).ask(ASKED, 5.0)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("content", [None, "", "sk-\x1bcanary", "sk-canary\u2026"])
def test_a_key_that_cannot_be_used_is_told_before_anything_is_sent(tmp_path: Path, content: str | None) -> None:
    """A missing or empty file, or characters the HTTP library would refuse and quote."""
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    with LlmServer(llm_server.says(GOOD)) as server:
        with pytest.raises(LlmError, match="the LLM's key") as caught:
            LlmClient(settings(server.base_url, api_key_env=None, api_key_file=path)).ask(ASKED, 5.0)
        assert server.requests == []
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert (caught.value.retryable, caught.value.sent) == (False, False)


def test_a_missing_package_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is optional: without it the LLM alone is missing."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(LlmError) as caught:
        LlmClient(settings("http://llm.invalid/v1")).ask(ASKED, 5.0)
    assert str(caught.value) == "the openai package is not installed (pip install 'edge-monitor[llm]')"
    assert (caught.value.retryable, caught.value.sent) == (False, False)
