"""Nodes, servers and data sets that several commands are tried with."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.evaluating import make as make_dataset
from tests.cli.explaining import FAULTY, Make
from tests.llm_server import GOOD, LlmServer, says
from tests.product import Product
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a faulty and a healthy clip, and a node that knows the pump and has had one alarm."""
    folder = tmp_path_factory.mktemp("known")
    write_clips(folder / "healthy", "healthy", pump(200))
    write_clips(folder, "faulty", pump(10, take=5, fault="bearing"))
    write_clips(folder, "sound", pump(10, take=5))
    product = Product(folder, FAULTY)
    for verb, *arguments in (("enroll", str(folder / "healthy")), ("run",)):
        done = product.command(verb, *arguments)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(product.state / "evidence")
    return folder


@pytest.fixture
def node(known: Path, tmp_path: Path) -> Make:
    """Make a copy of that node; takes Product's fields."""

    def make(**fields: Any) -> Product:  # noqa: ANN401 - Product's own fields
        shutil.copytree(known, tmp_path / "node", dirs_exist_ok=True)
        return Product(tmp_path / "node", FAULTY, **fields)

    return make


@pytest.fixture
def llm() -> Iterator[LlmServer]:
    """Run a server that answers well."""
    with LlmServer(says(GOOD)) as server:
        yield server


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a set of one pump."""
    return make_dataset(tmp_path_factory.mktemp("set"))
