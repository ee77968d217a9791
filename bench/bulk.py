"""Many faces written: as an ingest writes them, beside the client's ``helpers.bulk`` with vectors as lists and default settings.

Both write the same whole documents into one shard, and both end with a merge to as few segments. The other's index has Elasticsearch's own
defaults: its type of vector index (for 128 dimensions a graph over bytes), its refreshes, its translog.

    python bench/bulk.py --faces 100000

A node of Facedex's own is used, and what is made in it is deleted.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psutil
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.engines.facedex import Facedex  # noqa: E402
from bench.guarded import document, lots, plain_mapping  # noqa: E402
from bench.population import Population  # noqa: E402
from bench.results import keep  # noqa: E402
from core.terminal import print_json, say, show, table  # noqa: E402

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_PHOTOS = 4
_DAY = 24 * 3600.0


def ours(faces: int) -> dict[str, float]:
    """Seconds and CPU seconds, of this process and of the node, of an ingest's writing, and what it takes of the disk."""
    engine = Facedex()
    try:
        with _measured(engine) as taken:
            engine.build((block.vectors for block in Population.load().gallery(faces // _PHOTOS, _PHOTOS)), faces)
        return taken | {"bytes": float(engine.disk())}
    finally:
        engine.close()


def theirs(faces: int) -> dict[str, float]:
    """The same of ``helpers.bulk``."""
    from elasticsearch import helpers

    from es.merging import SEGMENTS

    engine, index = Facedex(), f"bench-{uuid.uuid4().hex[:12]}"
    client: Elasticsearch = engine.client

    def documents() -> Iterator[dict[str, Any]]:
        for row, work in enumerate(islice(chain.from_iterable(lots(faces)), faces)):
            yield {"_index": index, "_id": f"{row}", "_source": document(work)}

    try:
        with _measured(engine) as taken:
            client.indices.create(index=index, mappings=plain_mapping())
            helpers.bulk(client, documents())
            client.options(request_timeout=_DAY).indices.forcemerge(index=index, max_num_segments=SEGMENTS)
            client.indices.refresh(index=index)
        return taken
    finally:
        client.indices.delete(index=index, ignore_unavailable=True)


@contextmanager
def _measured(engine: Facedex) -> Iterator[dict[str, float]]:
    """What passes, and what this process and the node compute, until the block ends."""
    node, taken = psutil.Process(engine.node_pid()), dict[str, float]()

    def clocks() -> tuple[float, float, float]:
        spent = node.cpu_times()
        return time.perf_counter(), time.process_time(), spent.user + spent.system

    begun = clocks()
    yield taken
    names = ("seconds", "client_cpu", "node_cpu")
    taken |= {name: round(b - a, 1) for name, a, b in zip(names, begun, clocks(), strict=True)}


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    faces: Annotated[int, typer.Option(help="How many.")] = 100_000,
    out: Annotated[Path | None, typer.Option(help="Keep the figures, as JSON.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measures one after the other."""
    faces -= faces % _PHOTOS
    say(f"{faces:,} faces, as an ingest writes them ...")
    mine = ours(faces)
    say("... and by helpers.bulk.")
    other = theirs(faces)
    figures = {"faces": faces, "facedex": mine, "helpers_bulk": other, "ratio": round(other["seconds"] / mine["seconds"], 2)}
    if out is not None:
        keep(out, "bulk", figures)
    if json:
        print_json(figures)
        return
    numbers = ("seconds", "CPU s of the client", "CPU s of the node")
    shown = table("", *numbers, right=numbers)
    for name, each in (("Facedex", mine), ("helpers.bulk", other)):
        shown.add_row(name, *(f"{each[key]:,.1f}" for key in ("seconds", "client_cpu", "node_cpu")))
    show(shown, f"{figures['ratio']} times the rate; {mine['bytes'] / faces:,.0f} bytes of disk a face.")


if __name__ == "__main__":
    app()
