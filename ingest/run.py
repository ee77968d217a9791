"""One ingest run: sources, what is known of them, worker processes, the writer. Everything flows as iterators, in order."""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from core.files import sha256_of
from core.terminal import say
from es.client import speaking
from es.documents import alias, rejects_alias
from es.loading import BulkLoad, recover
from ingest.executors import embedder
from ingest.known import Known, lookup
from ingest.report import RejectsFile, Report
from ingest.worker import Detection, Outcome, represent
from ingest.writer import Work, Writer

if TYPE_CHECKING:
    from concurrent.futures import Future

    from elasticsearch import Elasticsearch

    from faces.recipe import Recipe
    from ingest.executors import Embedder
    from ingest.sources import Source

_LOOKUP = 512  # photos asked for at once
_MANY = 10_000  # new photos from which a run is a bulk load
_READERS = 4  # threads that hash files
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
    from faces.pipeline import prepare

    prepare(recipe, anti_spoofing=options.detection.anti_spoofing)
    had_faces = settle(client, name)
    report = Report(run=f"{uuid.uuid4()}", collection=name)
    writer = Writer(client, name, model=recipe.model, run=report.run, detection=str(options.detection))

    def note(work: Work) -> None:
        reject = work.outcome.reject
        if reject is not None:
            report.rejected[reject.reason] += 1
            rejects.add(work.source.path, reject)
        elif work.created:
            report.indexed += 1
            report.faces += work.created
        else:
            report.skipped += 1
        report.stages.update(work.outcome.seconds)
        seen(report)

    def unsettled() -> Iterator[Job]:
        for job in jobs(client, name, sources, report.stages):
            if job.known is None or not job.known.is_settled(str(options.detection)):
                yield job
            else:
                note(Work(job.source, Outcome(job.sha256, reject=job.known.reject), job.known))

    def embedded() -> Iterator[Work]:
        for work in embed(unsettled(), recipe, options, report):
            report.embedded += 1
            yield work

    with BulkLoad(client, name, say, merge=options.merge) as load:
        if options.bulk_load:
            load.begin()
        for work in writer.write(embedded()):
            note(work)
            if options.bulk_load is None and not load.is_on and report.indexed >= _MANY:
                load.begin(keep_replicas=had_faces)
            load.renew()
    with speaking():
        client.indices.refresh(index=[alias(name), rejects_alias(name)])
    report.stages.update({"write": writer.seconds})
    report.rejects_file = rejects.written
    return report.finish()


def settle(client: Elasticsearch, name: str) -> bool:
    """Makes what an earlier run stored visible, even one that was cut off; says whether there are faces."""
    recover(client, name)
    with speaking():
        client.indices.refresh(index=[alias(name), rejects_alias(name)], ignore_unavailable=True)
        return int(client.count(index=alias(name))["count"]) > 0


@dataclass(frozen=True, slots=True)
class Job:
    """A photo to look at: ``sha256`` is ``None`` where it couldn't be read, ``known`` where the collection never saw its content."""

    source: Source
    sha256: str | None
    known: Known | None


def jobs(client: Elasticsearch, name: str, sources: Iterable[Source], stages: Counter[str] | None = None) -> Iterator[Job]:
    """Each source, with what the collection knows of a photo with the same bytes. Adds the seconds that this takes to ``stages``."""
    sources, stages = iter(sources), Counter() if stages is None else stages
    client = client.options(max_retries=0)  # asked again with waits instead
    with ThreadPoolExecutor(_READERS, thread_name_prefix="hash") as readers:
        while batch := list(itertools.islice(sources, _LOOKUP)):
            begun = time.perf_counter()
            hashes = list(readers.map(sha256_of, [str(source.path) for source in batch]))
            hashed = time.perf_counter()
            known = lookup(client, name, [digest for digest in hashes if digest is not None])
            stages.update({"hash": hashed - begun, "lookup": time.perf_counter() - hashed})
            for source, digest in zip(batch, hashes, strict=True):
                yield Job(source, digest, known.get(digest or ""))


def embed(photos: Iterable[Job], recipe: Recipe, options: Options, report: Report | None = None) -> Iterator[Work]:
    """The photos with what the workers made of them, in the order given. The workers start with the first photo.

    A worker that dies costs its one photo, and so does a photo that takes too long.
    """
    photos = iter(photos)
    first = next(photos, None)
    if first is None:
        return
    flying: deque[tuple[Job, Future[Outcome]]] = deque()
    executor = embedder(options.workers, options.dask, (recipe, options.detection, options.max_pixels), options.seconds_per_photo)
    try:
        if report is not None:
            report.workers = executor.width
        for job in itertools.chain([first], photos):
            flying.append((job, executor.submit(represent, str(job.source.path))))
            while flying and (len(flying) >= _WINDOW * executor.width or flying[0][1].done()):
                yield _landed(*flying.popleft(), executor)
        while flying:
            yield _landed(*flying.popleft(), executor)
        executor.shutdown()
    finally:
        executor.shutdown(cancel_futures=True)  # after the last photo there is nothing left to cancel


def _landed(job: Job, future: Future[Outcome], executor: Embedder) -> Work:
    outcome = executor.outcome(future)
    if outcome.sha256 is None:
        outcome = replace(outcome, sha256=job.sha256)
    return Work(job.source, outcome, job.known)
