"""No fixture has the name of one that a widespread plugin of pytest brings along.

Where the plugin is installed its own code finds ours in its place: pytest-benchmark then ends the
whole run with an internal error.
"""

from __future__ import annotations

import ast
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
TAKEN = {
    "pytest-benchmark": {"benchmark", "benchmark_weave"},
    "pytest-mock": {"mocker", "class_mocker", "module_mocker", "package_mocker", "session_mocker"},
    "pytest-xdist": {"testrun_uid", "worker_id"},
    "pytest-cov": {"cov", "no_cover"},
    "anyio": {"anyio_backend", "free_tcp_port", "free_tcp_port_factory"},
    "pytest-asyncio": {"event_loop", "event_loop_policy", "unused_tcp_port"},
    "pytest-regressions": {"datadir", "original_datadir", "file_regression", "data_regression"},
    "Faker": {"faker"},
    "syrupy": {"snapshot"},
    "pytest-freezer": {"freezer"},
    "pyfakefs": {"fs"},
    "requests-mock": {"requests_mock"},
}  # fmt: skip


def test_no_fixture_has_the_name_of_a_plugins() -> None:
    owners = {name: plugin for plugin, names in TAKEN.items() for name in names}
    fixtures = [
        (path, node.name)
        for path in sorted(FOLDER.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and any("pytest.fixture" in ast.unparse(one) for one in node.decorator_list)
    ]
    assert len(fixtures) > 100
    assert [(path, name, owners[name]) for path, name in fixtures if name in owners] == []
