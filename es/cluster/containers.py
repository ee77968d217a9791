"""The nodes of a cluster as containers of a Docker engine."""

from __future__ import annotations

from collections.abc import Callable

from core.errors import EngineError
from es.cluster.plan import Member, Plan


def available() -> bool:
    """Whether an engine answers."""
    return False


def up(plan: Plan, say: Callable[[str], None]) -> list[Member]:
    """Starts what is not running."""
    raise EngineError(f"There is no Docker engine for {plan.nodes} nodes.", code="no_docker")


def members(plan: Plan) -> list[Member]:
    """The nodes as they are now."""
    return [Member(name, None, running=False, id="") for name in plan.names]


def down(plan: Plan, *, erase: bool) -> bool:
    """Stops all nodes; says whether any ran."""
    return False
