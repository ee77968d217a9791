"""What searches and an ingest notice when nodes of a cluster go: none fails, and nothing that was stored is lost.

Four threads search without pause and an ingest runs, while each node in turn is stopped, killed and frozen, as containers of the
compose file. The cluster is that of ELASTICSEARCH_URL and so on; photos are copies of those in a folder, each with a comment of its own,
so that each is new. Exit code 1: something failed or was lost.

    docker compose up -d --wait
    python bench/cluster_docker.py --from ../shared/faces/lfw --photos 2000
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain, count, cycle
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.throughput import marked  # noqa: E402
from core.errors import FacedexError  # noqa: E402
from core.terminal import print_json, say, show, table  # noqa: E402

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.collections import Collection
    from faces.recipe import Recipe
    from ingest.report import Report
    from photos.sources import Source
    from query.targets import Target

_THREADS = 4
_TARGETS = 50
_AWAY_SECONDS = 20  # longer than the cluster takes to give up a node that is frozen
_GREEN_SECONDS = 600


@dataclass
class Event:
    """One node that went and came back, and what was noticed meanwhile."""

    node: str
    how: str
    searches: int = 0
    failed: int = 0
    longest: float = 0.0  # seconds of one search
    codes: dict[str, int] = field(default_factory=dict)  # of the errors
    green: float = 0.0  # seconds from its return until all copies were there again


class Searches:
    """Threads that search without pause, each with a photo of its own after the other."""

    def __init__(self, client: Elasticsearch, name: str, recipe: Recipe, targets: list[Target]) -> None:
        self.event = Event("-", "-")
        self._over, self._lock = threading.Event(), threading.Lock()
        self._of = (client, name, recipe)
        self._threads = [threading.Thread(target=self._search, args=(targets[at:] + targets[:at],)) for at in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends them."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _search(self, targets: list[Target]) -> None:
        from query.search import PairThreshold, searcher

        client, name, recipe = self._of
        searching = searcher(client, name, PairThreshold(recipe.search_threshold))
        for target in cycle(targets):
            if self._over.is_set():
                return
            begun, code = time.perf_counter(), None
            try:
                ((_, answer),) = searching.answers([target])
                if not any(face.matches for face in answer.faces):
                    code = "nothing_found"
            except FacedexError as error:
                code = error.code
            with self._lock:
                self._note(time.perf_counter() - begun, code)

    def _note(self, seconds: float, code: str | None) -> None:
        self.event.searches += 1
        self.event.longest = max(self.event.longest, seconds)
        if code is not None:
            self.event.failed += 1
            self.event.codes[code] = self.event.codes.get(code, 0) + 1


class Ingest:
    """An ingest of photos that are made as they are asked for, begun anew where it is cut off."""

    def __init__(self, client: Elasticsearch, name: str, recipe: Recipe, originals: list[Path], folder: Path) -> None:
        self.acknowledged, self.cut_off = 0, 0
        self._of = (client, name, recipe)
        self._originals, self._folder = originals, folder
        self._numbers = count()
        self._given: list[Source] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def first(self, photos: int) -> None:
        """Some photos, before anything happens."""
        self._pass(source for source, _ in zip(self._made(), range(photos), strict=False))

    def start(self) -> None:
        """Goes on in the background, until it is stopped."""
        self._thread.start()

    def stop(self) -> int:
        """Ends it, and ingests all photos once more: what was acknowledged and is not there is lost. How many photos."""
        self._over.set()
        self._thread.join()
        known, before = len(self._given), self.acknowledged
        report = self._pass(iter(self._given))
        assert report.photos == known  # noqa: S101
        return max(0, before - report.skipped)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._pass(chain(list(self._given), self._made()))
            except FacedexError as error:
                say(f"The ingest was cut off ({error.code}): {error}")
                self.cut_off += 1

    def _pass(self, sources: Iterator[Source]) -> Report:
        from ingest.report import RejectsFile
        from ingest.run import Options, ingest

        so_far = 0

        def seen(report: Report) -> None:
            nonlocal so_far
            so_far = report.indexed

        client, name, recipe = self._of
        try:
            with RejectsFile(self._folder / f"rejects-{uuid.uuid4().hex}.jsonl") as rejects:
                return ingest(client, name, recipe, sources, rejects, Options(workers=1, bulk_load=False), seen)
        finally:
            self.acknowledged += so_far

    def _made(self) -> Iterator[Source]:
        from photos.sources import Source

        while not self._over.is_set():
            number = next(self._numbers)
            path = self._folder / f"{number:08}.jpg"
            path.write_bytes(marked(self._originals[number % len(self._originals)].read_bytes(), number))
            source = Source(str(path), self._originals[number % len(self._originals)].parent.name)
            self._given.append(source)
            yield source


def _name(container: Any) -> str:
    return str(container.labels["com.docker.compose.service"])


def disturb(container: Any, how: str) -> None:
    """Takes a node away for a while: stop, kill or pause."""
    getattr(container, how)()
    time.sleep(_AWAY_SECONDS)
    if how == "pause":
        container.unpause()
    else:
        container.start()


def await_green(client: Elasticsearch, nodes: int) -> float:
    """Seconds until all nodes and all copies are there."""
    from es.client import speaking

    begun = time.perf_counter()
    while time.perf_counter() - begun < _GREEN_SECONDS:
        with suppress(FacedexError), speaking():
            health = client.cluster.health(wait_for_status="green", wait_for_nodes=str(nodes), timeout="10s")
            if not health["timed_out"]:
                return time.perf_counter() - begun
    raise SystemExit("The cluster did not become green again.")


def containers_of(project: str) -> list[Any]:
    """The nodes of a compose project, by name."""
    import docker

    wanted = {"label": [f"com.docker.compose.project={project}"]}
    found = {each.labels["com.docker.compose.service"]: each for each in docker.from_env().containers.list(filters=wanted)}
    return [found[name] for name in sorted(found) if name.startswith("es")]


def run(
    client: Elasticsearch, made: Collection, recipe: Recipe, originals: list[Path], photos: int, turns: list[tuple[str, Any]], nodes: int
) -> dict[str, Any]:
    """All of it; the figures."""
    from photos.sources import Source
    from query.targets import looked_at

    with tempfile.TemporaryDirectory() as folder:
        ingesting = Ingest(client, made.name, recipe, originals, Path(folder))
        ingesting.first(photos)
        await_green(client, nodes)
        seen = looked_at((Source(str(path)) for path in originals[:_TARGETS]), recipe)
        searches = Searches(client, made.name, recipe, [target for target in seen if target.faces])
        ingesting.start()
        events = []
        try:
            for how, node in turns:
                events.append(event := Event(_name(node), how))
                searches.event = event
                disturb(node, how)
                event.green = await_green(client, nodes)
                say(str(event))
        finally:
            searches.stop()
            lost = ingesting.stop()
    return {
        "events": [asdict(event) for event in events],
        "searches": sum(event.searches for event in events),
        "failed": sum(event.failed for event in events),
        "longest": round(max(event.longest for event in events), 2),
        "acknowledged": ingesting.acknowledged,
        "lost": lost,
        "ingests_cut_off": ingesting.cut_off,
    }


def main(
    originals: Annotated[Path, typer.Option("--from", help="A folder of JPEGs.")] = ROOT.parent / "shared" / "faces" / "lfw",
    photos: Annotated[int, typer.Option(min=100, help="How many to ingest before anything happens.")] = 2000,
    project: Annotated[str, typer.Option(help="The compose project.")] = "facedex",
    how: Annotated[str, typer.Option(help="What happens to each node, of stop, kill and pause.")] = "stop,kill,pause",
    only: Annotated[str, typer.Option(help="Nodes, with commas between; the others are left alone.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Take nodes away while searches and an ingest run."""
    from core.settings import settings
    from es import collections
    from es.client import connect
    from faces.recipe import resolve
    from photos.sources import walk

    nodes = containers_of(project)
    turns = [(each, node) for each in how.split(",") for node in nodes if not only or _name(node) in only.split(",")]
    if not turns:
        raise SystemExit(f"The compose project {project} has no such nodes.")
    recipe = resolve()
    paths = [Path(path) for path in walk(str(originals)) if path.endswith(".jpg")]
    with connect(settings(), say) as client:
        made = collections.create(client, f"bench-{uuid.uuid4().hex}", recipe.as_dict())
        try:
            figures = run(client, made, recipe, paths, photos, turns, len(nodes))
        finally:
            await_green(client, len(nodes))
            collections.delete(client, made)
    if json:
        print_json(figures)
    else:
        shown = table("node", "what", "searches", "failed", "longest, s", "green after, s", right=("searches", "failed", "longest, s"))
        for event in figures["events"]:
            row = (event["searches"], event["failed"], f"{event['longest']:.2f}", f"{event['green']:.0f}")
            shown.add_row(event["node"], event["how"], *map(str, row))
        show(shown, f"{figures['acknowledged']} photos were stored, {figures['lost']} of them lost; {figures['ingests_cut_off']} restarts.")
    raise typer.Exit(1 if figures["failed"] or figures["lost"] else 0)


if __name__ == "__main__":
    typer.run(main)
