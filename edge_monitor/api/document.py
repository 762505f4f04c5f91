"""The OpenAPI document of the API: `python -m edge_monitor.api.document docs/api/openapi.json` writes it."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from edge_monitor.api.app import make_app
from edge_monitor.api.jobs import Jobs
from edge_monitor.config.settings import Settings
from edge_monitor.node.node import Node
from edge_monitor.node.operation import Role
from edge_monitor.node.operations import OPERATIONS


def document() -> dict[str, Any]:
    """Return the document; it depends on no node. Each operation has its role as `x-role`."""
    with tempfile.TemporaryDirectory() as folder:
        node = {"site": "plant", "name": "box", "state_dir": folder}
        settings = {"node": node, "machine": [{"name": "pump", "source": {"kind": "simulator"}}]}
        found = make_app(Node(Settings.model_validate(settings)), Jobs()).openapi()
    found["info"]["version"] = "v1"  # the document changes with the operations, not with each release
    roles = {each.name: each.role for each in OPERATIONS}
    for path in found["paths"].values():
        for route in path.values():
            route["x-role"] = roles.get(route["operationId"], Role.LOOK).name.lower()
    return found


def main() -> None:
    """Write it."""
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document(), indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
