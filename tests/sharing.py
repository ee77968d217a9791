"""How a run of all tests is shared between processes, each with an Elasticsearch of its own: what one breaks, no other sees.

xdist's own groups (``--dist=loadgroup``) are no groups with pytest 9.2 (pytest-xdist issue 1386), so they are made here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import NodeManager

from es.local import memory

if TYPE_CHECKING:
    from xdist.remote import Producer

WORKERS = 2
WORKER_BYTES = 3 * 1024**3  # a node and a Python with the networks; one has the three nodes of the cluster besides, one that with users
# What starts servers or takes long comes first, so that in the end no process waits for another. Those of a line are of one process.
FIRST = (
    ("tests/cluster/",),
    ("tests/es/security/test_rights.py", "tests/cli/test_security.py"),  # the node with users
    ("tests/ingest/test_chaos.py",),
    ("tests/es/local/test_node.py",),
)

NodeManager.EXIT_TIMEOUT = 60  # seconds for a process to stop its servers when the run is interrupted


class Files(LoadScopeScheduling):  # type: ignore[misc]
    """A file is one process's, with its fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        place = _place(nodeid)
        return FIRST[place][0] if place < len(FIRST) else nodeid.partition("::")[0]


def _place(nodeid: str) -> int:
    return next((place for place, files in enumerate(FIRST) if nodeid.startswith(files)), len(FIRST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process, this one, for less than all tests, or where two have no room."""
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    has_room = (os.cpu_count() or 1) >= WORKERS and memory.available() >= WORKERS * WORKER_BYTES
    return WORKERS if is_whole and has_room else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Files:
    return Files(config, log)


@pytest.hookimpl(trylast=True)  # once the order is a random one
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _place(item.nodeid))
