"""What a cluster of Facedex's own is to be, and what it became: the words that all of ``es.cluster`` shares.

Everything of a cluster is below one folder, closed to other users: ``cluster.json`` (this record), ``ca.crt``, ``password`` (of its
administrator) and, for each node, a folder ``files/<node>`` with what goes into its configuration (see ``es.security``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ADMINISTRATOR = "facedex"  # a user of the file realm, with the role superuser

Kind = Literal["docker", "local"]


@dataclass(frozen=True)
class Plan:
    """What was asked for."""

    folder: Path
    nodes: int
    heap: str  # each node's, as Java writes it: 1g

    @property
    def names(self) -> list[str]:
        """Of the nodes: es01, es02, ..."""
        return [f"es{number:02}" for number in range(1, self.nodes + 1)]

    def files(self, node: str) -> Path:
        """What goes into a node's configuration: ca.crt, node.crt, node.key, users, users_roles, roles.yml."""
        return self.folder / "files" / node


@dataclass(frozen=True)
class Member:
    """A node of the cluster as it is now."""

    name: str
    url: str | None  # https://127.0.0.1:port, where it runs
    running: bool
    id: str  # a process's number, or a container's id
