"""What all tests share: one real Elasticsearch for the run, a collection of its own for each test, photos."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import demo
from core.settings import settings
from es.security.roles import RIGHTS, role_name, roles
from tests import servers

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.local.node import Node
    from tests.servers import Secured

pytest_plugins = ["tests.sharing"]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "faces"


@pytest.fixture(scope="session", autouse=True)
def surroundings() -> Iterator[Path]:
    """A data folder of the run's own, so that no test sees or touches the faces of whoever runs it. The cache is theirs: it is large."""
    for name in [name for name in os.environ if name.startswith(("ELASTICSEARCH_", "FACEDEX_")) and name != "FACEDEX_CACHE_DIR"]:
        del os.environ[name]
    folder = Path(tempfile.mkdtemp(prefix="facedex-tests-"))
    folder.chmod(0o711)  # started by root, the node runs as another user, who must get in
    os.environ |= {"FACEDEX_DATA_DIR": str(folder), "FACEDEX_NODE_HEAP": "768m", "FACEDEX_NODE_IDLE_MINUTES": "20", "COLUMNS": "140"}
    os.environ["FACEDEX_RETRY_SECONDS"] = "10"
    settings.cache_clear()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def node(surroundings: Path) -> Iterator[Node]:
    """The run's Elasticsearch: Facedex's own embedded node."""
    from es.local import node as embedded

    yield embedded.ensure(settings(), print)
    embedded.stop(settings())


@pytest.fixture(scope="session")
def client(node: Node) -> Iterator[Elasticsearch]:
    """A client of the run's Elasticsearch."""
    from es.client import connect

    with connect(settings()) as connected:
        yield connected


@pytest.fixture(scope="session")
def secured(surroundings: Path) -> Iterator[Secured]:
    """A second Elasticsearch, with TLS and users: one for each right in the collection ``staff``, and a stranger."""
    users: dict[str, tuple[str, ...]] = {right: (role_name(right, "staff"),) for right in RIGHTS}
    overseers: dict[str, tuple[str, ...]] = {f"{right}-all": (role_name(right),) for right in RIGHTS}
    with servers.secured({**users, **overseers, "stranger": ()}, {**roles(["staff"]), **roles()}) as node:
        yield node


@pytest.fixture
def name(client: Elasticsearch) -> Iterator[str]:
    """The name of a collection that no other test uses. What it became is deleted afterwards."""
    from es.collections import delete, find

    made = f"test-{uuid.uuid4().hex}"
    yield made
    found = find(client, made)
    if found is not None:
        delete(client, found)
    left = list(client.indices.get_alias(index=f"facedex-{made}*", expand_wildcards="all"))  # of a collection that was broken on purpose
    if left:
        client.indices.delete(index=left, ignore_unavailable=True)


@pytest.fixture(scope="session")
def portraits() -> dict[str, Path]:
    """Portraits by file name, from a registry package: biden.jpg, obama.jpg, obama2.jpg, obama3.jpg, obama_partial_face.jpg ..."""
    return {path.name: path for path in demo.portraits().rglob("*.*")}


@pytest.fixture(scope="session")
def shared_photos() -> Path:
    """The folder of photos beside the checkout; tests that use it are marked ``photos``."""
    if not SHARED.is_dir():
        pytest.skip("the photos of ../shared/faces are not here")
    return SHARED
