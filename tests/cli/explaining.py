"""What the tests of `explain` share: a node that has had one alarm, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.product import Product

if TYPE_CHECKING:
    from tests.llm_server import LlmServer

Make = Callable[..., Product]
KEY = "sk-canary-4711"
FAULTY = '{ kind = "simulator", take = 1, fault = "bearing", fault_at_s = 1.0, pace = "max", seconds = 60 }'
LLM = """
[explain]
llm = "openai"
base_url = "{url}"
model = "played"
api_key_env = "CANARY"
requests_per_day = {per_day}
requests_per_alarm = 2
"""


def with_llm(llm: LlmServer, *, per_day: int = 100) -> dict[str, Any]:
    """Return Product's fields for a node that asks this server."""
    return {"extra": LLM.format(url=llm.base_url, per_day=per_day), "environment": {"CANARY": KEY}}


def alarm_id(product: Product) -> str:
    """Return the id of its one alarm."""
    [[found]] = product.rows("SELECT alarm_id FROM alarms")
    return str(found)


def refusal(product: Product, *arguments: str) -> str:
    """Return the one line that refuses a call."""
    done = product.command("explain", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    return line
