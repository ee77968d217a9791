"""One ingest run: sources, what is known of them, worker processes, the writer. Everything flows as iterators, in order."""

from __future__ import annotations

import itertools
import os
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from core.terminal import say
from es.client import speaking
from es.documents import alias, rejects_alias
from es.loading import BulkLoad, recover
from es.transport import patience
from ingest.executors import embedder
from ingest.fingerprints import Fingerprints
from ingest.known import PASSING
from ingest.report import RejectsFile, Report
from ingest.resume import Job, Resume
from ingest.tally import Tally
from ingest.worker import Detection, Outcome, represent
from ingest.writer import Work, Writer

if TYPE_CHECKING:
    from concurrent.futures import Future

    from elasticsearch import Elasticsearch

    from faces.recipe import Recipe
    from ingest.executors import Embedder
    from ingest.sources import Source

_MANY = 10_000  # new photos from which a run is a bulk load
_WINDOW = 64  # photos on their way, for each worker: bounds memory, and keeps the others busy behind a slow photo


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Options:
    """How to ingest. A photo is given up after ``seconds_per_photo``. ``dask`` is the address of a cluster to use for ``workers``."""

    detection: Detection = field(default_factory=Detection)
    workers: int = field(default_factory=cores)
    max_pixels: int = 100_000_000
    seconds_per_photo: float = 120.0
    thumbnails: bool = False
    remember: Path | None = None  # the folder of the files that hold what photo files contained; without it, each is read
    rehash: bool = False  # reads each photo file, whatever is remembered
    again: bool = False  # looks again at what was left out
    dask: str | None = None
    bulk_load: bool | None = None  # None: once very many photos proved to be new
    merge: bool = True  # the index, after a bulk load


def ingest(
    client: Elasticsearch,
    name: str,
    recipe: Recipe,
    sources: Iterable[Source],
    rejects: RejectsFile,
    options: Options,
    seen: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Puts the faces of all photos into a collection. Photos that it holds already are neither decoded nor embedded again.

    Args:
        client: the connection.
        name: the collection, which exists and has this recipe.
        recipe: how vectors are made.
        sources: the photos.
        rejects: where rejects are noted, besides the collection's own index.
        options: workers and limits.
        seen: called after each photo.

    Raises:
        FacedexError: Elasticsearch is gone or full, or the models can't be used. What was acknowledged until then stays, and the next
            run goes on from there.
    """
    with patience(client):
        report = _run(client, name, recipe, sources, rejects, options, seen)
    return report.finish()


def _run(
    client: Elasticsearch,
    name: str,
    recipe: Recipe,
    sources: Iterable[Source],
    rejects: RejectsFile,
    options: Options,
    seen: Callable[[Report], None],
) -> Report:
    had_faces = settle(client, name)
    report = Report(run=f"{uuid.uuid4()}", collection=name)
    writer = Writer(client, name, model=recipe.model, run=report.run, detection=str(options.detection))
    with _files(client, name, options) as files, BulkLoad(client, name, say, merge=options.merge) as load:
        resume = Resume(client, name, str(options.detection), files, again=options.again)
        tally = Tally(report, resume, rejects, seen)
        if options.bulk_load:
            load.begin()
        # Closed here, whatever happens: an iterator that is only forgotten can be closed by any thread at any time.
        with closing(resume.jobs(sources)) as jobs, closing(embed(tally.open(jobs), recipe, options, report)) as works:
            for work in writer.write(tally.embedded(works)):
                tally.stored(work)
                if options.bulk_load is None and report.indexed >= _MANY:
                    load.try_begin(keep_replicas=had_faces)
                load.renew()
    _refresh(client, name)
    report.moved, report.replaced = resume.moved, resume.replaced
    report.stages.update({"lookup": resume.seconds, "write": writer.seconds})
    report.rejects_file = rejects.written
    return report


def settle(client: Elasticsearch, name: str) -> bool:
    """Makes what an earlier run stored visible, even one that was cut off; says whether there are faces."""
    recover(client, name)
    _refresh(client, name)
    with speaking():
        return int(client.count(index=alias(name))["count"]) > 0


def _refresh(client: Elasticsearch, name: str) -> None:
    with speaking():
        client.indices.refresh(index=[alias(name), rejects_alias(name)])


def _files(client: Elasticsearch, name: str, options: Options) -> Fingerprints:
    with speaking():
        settings = client.indices.get_settings(index=alias(name), filter_path="*.settings.index.uuid")
    owner = next(iter(settings.values()))["settings"]["index"]["uuid"]
    file = options.remember / f"{name}.sqlite" if options.remember else None
    return Fingerprints(file, owner, trust=not options.rehash)


def embed(photos: Iterable[Job], recipe: Recipe, options: Options, report: Report | None = None) -> Generator[Work]:
    """The photos with what the workers made of them, in the order given. The workers start with the first photo.

    A worker that dies costs its one photo, and so does a photo that takes too long.
    """
    given = _UntilError(photos)
    first = next(given, None)
    if first is None:
        given.check()
        return
    from faces.pipeline import prepare

    prepare(recipe, anti_spoofing=options.detection.anti_spoofing)  # once, before many processes need the models
    flying: deque[tuple[Job, Future[Outcome]]] = deque()
    executor = embedder(
        options.workers, options.dask, (recipe, options.detection, options.max_pixels, options.thumbnails), options.seconds_per_photo
    )
    try:
        if report is not None:
            report.workers = executor.width
        for job in itertools.chain([first], given):
            flying.append((job, executor.submit(represent, job.source.place)))
            while flying and (len(flying) >= _WINDOW * executor.width or flying[0][1].done()):
                yield _landed(*flying.popleft(), executor)
        while flying:
            yield _landed(*flying.popleft(), executor)
        executor.shutdown()
        given.check()
    finally:
        executor.shutdown(cancel_futures=True)  # after the last photo there is nothing left to cancel


class _UntilError:
    """Photos up to an error, which waits until those before it are done."""

    def __init__(self, photos: Iterable[Job]) -> None:
        self._photos = iter(photos)
        self._error: Exception | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Job:
        try:
            return next(self._photos)
        except StopIteration:
            raise
        except Exception as error:  # noqa: BLE001 - raised once those before it are done
            self._error = error
            raise StopIteration from None

    def check(self) -> None:
        """Raises the error, if there was one."""
        if self._error is not None:
            raise self._error


def _landed(job: Job, future: Future[Outcome], executor: Embedder) -> Work:
    outcome = executor.outcome(future)
    if outcome.sha256 is None and outcome.reject is not None and outcome.reject.reason in PASSING:  # the worker could not tell any more
        outcome = replace(outcome, sha256=job.sha256)
    # A photo that can't be read now, or was changed since it was hashed: nothing is known of that, and the next run will see to it.
    return Work(job.source, outcome, job.known if outcome.sha256 == job.sha256 else None)
