"""The LLM server's list of models: the cheapest question that shows whether it is there and takes the key."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from edge_monitor.errors import LlmError
from edge_monitor.explain.llm import OPENAI_URL, _read_key, _unreachable

if TYPE_CHECKING:
    from edge_monitor.config.settings import ExplainSettings

_TIMEOUT_S = 10.0
_REFUSING = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


@dataclass(frozen=True, slots=True)
class ModelsPage:
    """What the server said."""

    host: str  # without path, user or query: those may be secret
    models: tuple[str, ...] | None  # None: it has no such list
    with_key: bool


class _Model(BaseModel):
    id: str


class _Page(BaseModel):
    data: list[_Model]


def look_up_models(settings: ExplainSettings) -> ModelsPage:
    """Ask for `{base_url}/models`, with the key if one is configured. It costs nothing.

    Raises LlmError, which never shows the key, when the server cannot be reached, fails, or refuses the key.
    """
    try:
        import httpx2
    except ImportError as error:
        raise LlmError(
            "the openai package is not installed", retryable=False, sent=False, hint="pip install 'edge-monitor[llm]'"
        ) from error
    key = _read_key(settings)
    base = (settings.base_url or OPENAI_URL).rstrip("/")
    host = urlsplit(base).hostname or "the LLM's server"
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    try:
        with httpx2.Client(timeout=_TIMEOUT_S, follow_redirects=False) as connection:
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
