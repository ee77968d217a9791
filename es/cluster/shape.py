"""What a node of a cluster is told, however it is started."""

from __future__ import annotations

import random
import socket
from collections.abc import Container

from core.errors import EngineError
from es.cluster.plan import Plan

# A node that is frozen or cut off is given up after about ten seconds, twenty if it was the master (by default thirty and sixty): for so
# long, writes wait for it.
_FAULTS: dict[str, object] = {
    "cluster.publish.timeout": "10s",
    **{
        f"cluster.fault_detection.{which}.{what}": value
        for which in ("follower_check", "leader_check")
        for what, value in (("timeout", "4s"), ("retry_count", 2))
    },
}
# Below those that systems give to outgoing connections: one of these must not take a port while its node is restarted.
_FIRST_PORT, _LAST_PORT = 10_240, 32_767
_DRAWS = 200


def node_settings(plan: Plan, name: str, *, formed: bool) -> dict[str, object]:
    """Elasticsearch's settings of a node, without addresses and folders, which depend on how it is started.

    Args:
        plan: of the cluster; what ``plan.files(name)`` holds is in the node's configuration folder.
        name: of the node.
        formed: the cluster was there before. A node that lost its data must join the others, and never begin a cluster of its own.
    """
    values: dict[str, object] = {
        "cluster.name": "facedex",
        "node.name": name,
        "discovery.type": "multi-node",
        "action.auto_create_index": "-facedex-*,+*",  # a mistyped collection is an error; what Kibana makes for itself is not
        "xpack.security.enabled": True,
        "xpack.security.autoconfiguration.enabled": False,
        "xpack.security.authc.password_hashing.algorithm": "pbkdf2",
        "xpack.security.transport.ssl.verification_mode": "certificate",
        **_FAULTS,
    }
    if not formed:
        values["cluster.initial_master_nodes"] = plan.names
    for layer in ("http", "transport"):
        prefix = f"xpack.security.{layer}.ssl"
        values |= {f"{prefix}.enabled": True, f"{prefix}.key": "node.key", f"{prefix}.certificate": "node.crt"}
        values[f"{prefix}.certificate_authorities"] = ["ca.crt"]
    return values


def free_port(taken: Container[int] = ()) -> int:
    """A port of loopback that a node may have for good.

    Args:
        taken: those that are promised to others.

    Raises:
        EngineError: none was found.
    """
    for port in random.sample(range(_FIRST_PORT, _LAST_PORT), _DRAWS):
        if port not in taken and is_free(port):
            return port
    raise EngineError("No free port was found for a node on this machine.", code="port_taken")


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a port in TIME_WAIT is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
