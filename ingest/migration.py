"""Moving a collection to another model: its vectors can't be used again, so its photos are looked at anew.

While that goes on, the collection is searched as it is, and takes no writes: what another run would store meanwhile would have been made
with the old model. (Such a run is told to be done again.) Photos are found by their paths; who they show, and their labels, are brought
over from the old faces.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from core.addresses import is_masked
from core.errors import CollectionError
from core.terminal import number_of
from es.migration import Migration, Moved, Shape, drop
from es.scan import scan
from es.transport import patience
from ingest.known import PASSING
from ingest.presence import is_gone
from ingest.rejects import found_again, is_gone_with_its_archive
from ingest.run import Options, ingest
from photos.sources import Source

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from core.web import Limits
    from faces.recipe import Recipe
    from ingest.report import RejectsFile, Report

_FIRST = 20  # photos that are named, of those that are gone
_MAY_PASS = {*PASSING, "unreadable", "forbidden"}  # reasons that say nothing about the photo itself
_PARTS = ["image.path", "person", "labels"]


@dataclass(slots=True)
class Photos:
    """The photos of the faces of an index, as they are on the disk. Addresses whose secret is not stored can't be opened: gone, too."""

    client: Elasticsearch
    index: str
    limits: Limits
    gone: int = 0
    gone_first: list[str] = field(default_factory=list)

    def sources(self) -> Iterator[Source]:
        """Those that are there, each for its person. They are noted first: looking at them takes longer than a point in time is kept."""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            for hit in scan(self.client, self.index, {"term": {"face.ordinal": 0}}, [], source=_PARTS):
                document = hit["_source"]
                file.write(json.dumps([document["image"]["path"], document.get("person"), document.get("labels", {})]) + "\n")
            file.seek(0)
            for stored, person, labels in map(json.loads, file):
                if is_gone(stored) or is_gone_with_its_archive(stored) or is_masked(stored):
                    self.gone += 1
                    self.gone_first += [stored] if self.gone <= _FIRST else []
                else:
                    path, place = found_again(stored, self.limits)
                    yield Source(path, person, labels, place)


def migrate(
    client: Elasticsearch,
    name: str,
    recipe: Recipe,
    shape: Shape,
    options: Options,
    rejects: RejectsFile,
    limits: Limits,
    seen: Callable[[Report], None] = lambda _: None,
    *,
    leave_missing: bool = False,
    drop_old: bool = False,
) -> tuple[Moved, Report, Photos]:
    """Fills a new index from the collection's photos, made with another recipe, and lets the collection be that.

    Raises:
        CollectionError: photos are gone or can't be read, and are not to be left behind (``photos_missing``); or as
            :func:`es.migration.migrate`. The collection is as it was then.
    """
    begun = time.monotonic()
    with patience(client), Migration(client, name, shape, recipe.as_dict()) as migration:
        moved = migration.moved
        migration.hold()
        held = time.monotonic()
        photos = Photos(client, moved.old, limits)

        def each(report: Report) -> None:
            migration.renew()
            seen(report)

        report = ingest(client, migration.lend(), recipe, photos.sources(), rejects, replace(options, bulk_load=False, remember=None), each)
        report.collection = name
        if photos.gone and not leave_missing:
            raise CollectionError(
                f"{number_of(photos.gone, 'photo')} of {name!r} can't be found any more, for example {photos.gone_first[0]}: "
                "their faces can't be made anew. "
                "--leave-missing goes on without them; they stay in the old index.",
                code="photos_missing",
            )
        failed = {reason: report.rejected[reason] for reason in sorted(_MAY_PASS) if report.rejected[reason]}
        if failed and not leave_missing:
            raise CollectionError(
                f"{number_of(sum(failed.values()), 'photo')} of {name!r} can't be looked at now ({', '.join(failed)}; see "
                f"{report.rejects_file}): put "
                "that right and run this again. --leave-missing goes on without them; they stay in the old index.",
                code="photos_missing",
            )
        migration.ready()
        moved.faces = migration.count()
        migration.hand_over()
        moved.held_seconds = round(time.monotonic() - held, 3)
        moved.seconds = round(time.monotonic() - begun, 2)
        if drop_old:
            moved.kept = not drop(client, name)
    return moved, report, photos
