"""What clients notice while each node of a cluster is stopped, killed and frozen: failed searches, lost faces, the longest pause.

    python bench/cluster.py --nodes 3

Makes a cluster of its own in a scratch folder, and removes it.
"""

from __future__ import annotations

import json as jsons
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import disturb
from core.errors import UsageError
from core.settings import settings
from core.terminal import say, show, table

if TYPE_CHECKING:
    from types import ModuleType

    from elasticsearch import Elasticsearch

    from es.cluster.record import Record

_NAME = "bench-cluster"
# How to disturb the nodes of each engine.
_ENGINES: dict[str, Any] = {"local": disturb.LocalActions}


@dataclass(frozen=True)
class Row:
    """One action on one node."""

    action: str
    node: str
    searches: int
    failed: int
    wrong: int  # answers without the one who is there
    written: int  # faces that were acknowledged
    longest: float  # seconds that one search took, with all that was repeated


def measure(client: Elasticsearch, found: Record, engine: ModuleType) -> tuple[list[Row], int]:
    """A row for each action on each node, and how many faces were lost in the end."""
    actions: disturb.Actions = _ENGINES[found.kind](found.plan)
    rows = []
    disturb.fill(client, _NAME)
    tally = disturb.Tally()
    with disturb.clients(_NAME, tally):
        for what in disturb.ACTIONS:
            for name in found.plan.names:
                (member,) = [each for each in engine.members(found.plan) if each.name == name]
                before, tally.longest = (tally.searches, tally.failed, tally.wrong, len(tally.acknowledged)), 0.0
                disturb.disturb(client, actions, member, what, found.nodes)
                after = (tally.searches, tally.failed, tally.wrong, len(tally.acknowledged))
                searches, failed, wrong, written = (now - then for now, then in zip(after, before, strict=True))
                rows.append(Row(what, name, searches, failed, wrong, written, round(tally.longest, 2)))
                say(f"{what} {name}: {searches:,} searches, {failed} failed, the longest took {tally.longest:.1f} s")
    for failure, count in tally.failures.items():
        say(f"{count} times: {failure}")
    return rows, disturb.lost(client, _NAME, tally)


def main(
    nodes: Annotated[int, typer.Option(help="How many nodes.")] = 3,
    memory: Annotated[str, typer.Option(help="Each node's heap.")] = "512m",
    engine: Annotated[str, typer.Option(help="How the nodes run: local.")] = "local",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints what clients notice."""
    from es.client import connect
    from es.cluster import record
    from es.cluster.commands import down, engine_of, up

    if engine not in _ENGINES:
        raise UsageError(f"{engine!r} is no engine that can be disturbed: use {', '.join(_ENGINES)}.")
    with tempfile.TemporaryDirectory(prefix="facedex-bench-") as scratch:
        Path(scratch).chmod(0o711)  # started by root, the nodes run as another user
        os.environ["FACEDEX_DATA_DIR"] = scratch
        os.environ.pop("ELASTICSEARCH_URL", None)
        settings.cache_clear()
        try:
            up(nodes, memory, engine)
            found = record.read(settings())
            assert found is not None  # noqa: S101 - it is up
            with connect(settings()) as client:
                rows, lost = measure(client, found, engine_of(found.kind))
        finally:
            down(erase=True, yes=True)
    if json:
        print(jsons.dumps({"nodes": nodes, "engine": engine, "lost": lost, "rows": [asdict(row) for row in rows]}))
        return
    shown = table("action", "node", "searches", "failed", "wrong", "faces written", "longest pause", right=("searches", "failed", "wrong"))
    for row in rows:
        shown.add_row(
            row.action, row.node, f"{row.searches:,}", str(row.failed), str(row.wrong), f"{row.written:,}", f"{row.longest:.1f} s"
        )
    written = sum(row.written for row in rows)
    show(shown, f"{sum(row.failed for row in rows)} searches failed; {lost} of {written:,} acknowledged faces were lost.")


if __name__ == "__main__":
    typer.run(main)
