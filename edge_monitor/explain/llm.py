"""The LLM's server: requests bounded in time and size, whose failures are told without key or address."""

from __future__ import annotations

import email.utils
import http.client
import ssl
import time
from dataclasses import asdict, dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from edge_monitor.config import credentials
from edge_monitor.errors import ConfigError, EdgeMonitorError, LlmError, UselessAnswerError
from edge_monitor.explain.answer import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import httpx2

    from edge_monitor.config.settings import ExplainSettings

OPENAI_URL = "https://api.openai.com/v1"  # named here, so that no environment variable sends the key elsewhere
MOST_BYTES = 65_536  # of an answer with all around it; 40 words and their JSON are below 2 kB
MOST_TOKENS = 200  # 40 words are about 60; the rest lets a talkative answer be seen and corrected
CONNECT_S = 10.0
_NO_KEY = "none"  # the openai package wants one; it is not sent
_PACKAGE_OWN = "x-stainless-raw-response"  # the package looks for it once the answer is there
_MOST_DIGITS = 9  # of a Retry-After in seconds: thirty years
_MOST_ERROR_BYTES = 4096
_MOST_ERROR_CHARACTERS = 160
_TOO_LATE = "the LLM's server did not answer in time"
_REFUSING = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}  # and all that is the server's own fault, 500 on
_HINTS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "check the key",
    HTTPStatus.FORBIDDEN: "check the key and what its account may use",
    HTTPStatus.NOT_FOUND: "check explain.model and explain.base_url",
}
# Only these say what is wrong with the request; an authentication error likes to repeat the key.
_TELLING = {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class ModelsPage:
    """What the server said."""

    host: str  # without path, user or query: those may be secret
    models: tuple[str, ...] | None  # None: it has no such list
    with_key: bool


class LlmClient:
    """Asks the LLM that the settings name. It keeps no connection and no key between two requests.

    The key is read anew each time, so that it can be changed while the node runs; requests are too rare for an open
    connection to be worth its upkeep. Proxies come from the environment (HTTPS_PROXY, NO_PROXY).
    """

    def __init__(self, settings: ExplainSettings) -> None:
        self._settings = settings

    def load(self) -> None:
        """Import the openai package: seconds of a busy box, which belong to no request. Raises LlmError without it."""
        try:
            import openai  # noqa: F401 - it stays in sys.modules
        except ImportError as error:
            raise LlmError(
                "the openai package is not installed",
                retryable=False,
                sent=False,
                hint="pip install 'edge-monitor[llm]'",
            ) from error

    def ask(self, messages: Sequence[Message], timeout_s: float) -> str:
        """Send one request and return the answer's raw text, which is never empty.

        It ends within the shorter of `timeout_s` and the configured timeout for a server that stalls, and one read
        later than that for one that trickles. Raises LlmError; UselessAnswerError when what came cannot be used.
        """
        self.load()
        import httpx2
        import openai

        key = _read_key(self._settings)
        limit_s = min(timeout_s, self._settings.timeout_s)
        end_s = time.monotonic() + limit_s
        timeout = httpx2.Timeout(limit_s, connect=min(CONNECT_S, limit_s))
        hooks: dict[str, list[Callable[..., Any]]] = {
            "request": [partial(_leave, key=key)],
            "response": [partial(_arrive, key=key, end_s=end_s)],
        }
        try:
            with (
                httpx2.Client(timeout=timeout, follow_redirects=False, event_hooks=hooks) as connection,
                openai.OpenAI(
                    api_key=key or _NO_KEY,
                    base_url=self._settings.base_url or OPENAI_URL,
                    timeout=timeout,
                    max_retries=0,
                    http_client=connection,
                ).chat.completions.with_streaming_response.create(**self._request(messages)) as response,
            ):
                body = _read(response.http_response, most_bytes=MOST_BYTES, end_s=end_s)
        except openai.APIConnectionError as error:
            raise _unreachable(error.__cause__ or error) from error
        except (httpx2.TransportError, ssl.SSLError) as error:
            raise _unreachable(error) from error
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            # Not chained: what a proxy's or server's address is refused with may hold its password.
            raise LlmError(f"the LLM cannot be asked: {type(error).__name__}", retryable=False, sent=False) from None
        text = _content(body)
        if key and key in text:
            raise UselessAnswerError("the LLM's answer repeats the key")
        return text

    def _request(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Return the arguments for the openai package: one deterministic text, no tools, nothing kept."""
        turns = [asdict(message) for message in messages]
        request: dict[str, Any] = {"model": self._settings.model, "messages": turns, "temperature": 0}
        if self._settings.base_url is None:
            # OpenAI's own: `max_tokens` is deprecated there, and what accounts store by default is theirs to set.
            return request | {"max_completion_tokens": MOST_TOKENS, "store": False}
        # Servers in plants: Ollama, LM Studio and older llama.cpp know the old name alone and ignore the new one, which
        # would be no limit; strict ones refuse what they do not know (`store`).
        return request | {"max_tokens": MOST_TOKENS}


def look_up_models(settings: ExplainSettings) -> ModelsPage:
    """Ask for `{base_url}/models`, with the key if one is configured. It costs nothing.

    Raises LlmError, which never shows the key, when the server cannot be reached, fails, or refuses the key.
    """
    import httpx2

    key = _read_key(settings)
    base = (settings.base_url or OPENAI_URL).rstrip("/")
    host = urlsplit(base).hostname or "the LLM's server"
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    try:
        with httpx2.Client(timeout=CONNECT_S, follow_redirects=False) as connection:
            answer = connection.get(f"{base}/models", headers=headers)
    except httpx2.TransportError as error:
        refused = _unreachable(error)
        refused.where, refused.hint = host, "check explain.base_url, the network and proxies"
        raise refused from None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise LlmError(f"cannot be asked: {type(error).__name__}", retryable=False, where=host) from None
    if answer.status_code in _REFUSING:
        raise LlmError(
            f"the server refuses the key ({answer.status_code})",
            retryable=False,
            where=host,
            hint="check explain.api_key_file, api_key_credential or api_key_env",
        )
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise LlmError(f"the server fails ({answer.status_code})", retryable=True, where=host, hint="its log says why")
    try:
        page = _Page.model_validate_json(answer.content) if answer.is_success else None
    except ValidationError:
        page = None
    return ModelsPage(host, None if page is None else tuple(each.id for each in page.data), key is not None)


def retry_after_s(headers: Mapping[str, str], wall_s: float) -> float | None:
    """Return for how many seconds a server wants to be left alone, >= 0 (RFC 9110, 10.2.3); None when it does not say.

    A time of day is taken from the server's own `Date` when it sends one, else from `wall_s`, seconds since 1970-01-01
    UTC: the node's clock may be wrong.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:_MOST_DIGITS])
    until_s = _epoch_s(text)
    if until_s is None:
        return None
    now_s = _epoch_s(headers.get("date", ""))
    return max(0.0, until_s - (wall_s if now_s is None else now_s))


def _epoch_s(text: str) -> float | None:
    """Return an HTTP date as seconds since 1970-01-01 UTC."""
    fields = email.utils.parsedate_tz(text)
    try:
        return None if fields is None else float(email.utils.mktime_tz(fields))
    except (ValueError, OverflowError):
        return None


def _read_key(settings: ExplainSettings) -> str | None:
    """Return the key without blanks around it; None when none is configured."""
    try:
        if settings.api_key_file is not None:
            key = credentials.from_file(settings.api_key_file, key="explain.api_key_file")
        elif settings.api_key_credential is not None:
            key = credentials.from_credential(settings.api_key_credential, key="explain.api_key_credential")
        elif settings.api_key_env is not None:
            key = credentials.from_environment(settings.api_key_env, key="explain.api_key_env")
        else:
            return None
    except ConfigError as error:
        raise LlmError(
            f"the LLM's key: {error.message}", retryable=False, sent=False, where=error.where, hint=error.hint
        ) from error
    key = key.strip()
    if not (key.isascii() and key.isprintable() and key):  # else the HTTP library refuses it, and quotes it
        raise LlmError("the LLM's key has characters that no key has", retryable=False, sent=False)
    return key


def _leave(request: httpx2.Request, *, key: str | None) -> None:
    """Take from a request what the server need not know (the openai package tells of the machine it runs on)."""
    for name in [name for name in request.headers if name.startswith("x-stainless-") and name != _PACKAGE_OWN]:
        del request.headers[name]
    if key is None:
        request.headers.pop("authorization", None)
    request.headers["accept-encoding"] = "identity"  # so that the size that is capped is the size there is


def _arrive(response: httpx2.Response, *, key: str | None, end_s: float) -> None:
    """Let an answer pass; raise LlmError for a refusal before the openai package reads all of it."""
    if response.is_success:
        return
    status = response.status_code
    phrase = http.client.responses.get(status, "no known status")
    said = _said(response, key, end_s) if status in _TELLING else ""
    raise LlmError(
        f"the LLM's server answered {status} ({phrase}){said}",
        retryable=status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR,
        after_s=retry_after_s(response.headers, time.time()),
        hint="it redirects: check explain.base_url" if response.is_redirect else _HINTS.get(status),
    )


def _said(response: httpx2.Response, key: str | None, end_s: float) -> str:
    """Return the beginning of an error's message, without the key; nothing when it has none in OpenAI's form."""
    import httpx2

    try:
        body = _read(response, most_bytes=_MOST_ERROR_BYTES, end_s=end_s)
        message = one_line(_Refusal.model_validate_json(body).error.message)
    except (httpx2.HTTPError, EdgeMonitorError, ValidationError):
        return ""
    if key is not None:
        message = message.replace(key, "***")
    return f": {message[:_MOST_ERROR_CHARACTERS]}" if message else ""


def _read(response: httpx2.Response, *, most_bytes: int, end_s: float) -> bytes:
    """Return a body, read piece by piece until it is too long or too late."""
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) > most_bytes:
            raise UselessAnswerError(f"the LLM's answer is longer than {most_bytes} bytes")
        if time.monotonic() > end_s:
            raise LlmError(_TOO_LATE, retryable=True)
    return bytes(body)


def _unreachable(error: BaseException) -> LlmError:
    """Return what an error below HTTP means."""
    import httpx2

    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return LlmError(f"the LLM's server cannot be reached{_system_error(error)}", retryable=True, sent=False)
    if isinstance(error, httpx2.TimeoutException):
        return LlmError(_TOO_LATE, retryable=True)
    return LlmError("the LLM's server broke the connection", retryable=True)


def _system_error(error: BaseException | None) -> str:
    """Return the operating system's words for the cause, which hold no address."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return f": {error.strerror}" if error is not None and error.strerror else ""


class _Turn(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Turn


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


class _Mistake(BaseModel):
    message: str


class _Refusal(BaseModel):
    error: _Mistake


class _Model(BaseModel):
    id: str


class _Page(BaseModel):
    data: list[_Model]


def _content(body: bytes) -> str:
    """Return the text in a chat completion; raises UselessAnswerError when there is none."""
    try:
        text = _Completion.model_validate_json(body).choices[0].message.content
    except ValidationError:
        raise UselessAnswerError("the LLM's server answered with something else than a chat completion") from None
    if text is None or not one_line(text):
        raise UselessAnswerError("the LLM answered nothing")
    return text
