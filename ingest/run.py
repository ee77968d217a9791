"""One ingest run: sources, what is known of them, worker processes, the writer. Everything flows as iterators, in order."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError as PhotoTimeout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from es.client import speaking
from es.documents import alias, rejects_alias
from ingest.fingerprints import Fingerprints
from ingest.report import RejectsFile, Report
from ingest.resume import Job, Resume
from ingest.worker import Detection, Outcome, Reject, represent, start
from ingest.writer import Work, Writer

if TYPE_CHECKING:
    from concurrent.futures import Future

    from elasticsearch import Elasticsearch
    from pebble import ProcessPool

    from faces.recipe import Recipe
    from ingest.sources import Source

_NAMES = 2  # as many as tell whether all photos got the same one
_WINDOW = 64  # photos on their way, for each worker: bounds memory, and keeps the others busy behind a slow photo


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Options:
    """How to ingest. A photo is given up after ``seconds_per_photo``."""

    detection: Detection = field(default_factory=Detection)
    workers: int = field(default_factory=cores)
    max_pixels: int = 100_000_000
    seconds_per_photo: float = 120.0
    thumbnails: bool = False
    remember: Path | None = None  # the folder of the files that hold what photo files contained; without it, each is read
    rehash: bool = False  # reads each photo file, whatever is remembered
    again: bool = False  # looks again at what was left out


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
    _refresh(client, name)  # what a run that was cut off wrote last must be seen
    report = Report(run=f"{uuid.uuid4()}", collection=name)
    writer = Writer(client, name, model=recipe.model, run=report.run, detection=str(options.detection))

    def note(work: Work) -> None:
        reject = work.outcome.reject
        if reject is not None:
            report.rejected[reject.reason] += 1
            report.closed += reject.reason == "unreadable" and os.path.isdir(work.source.path)  # noqa: PTH112 - never an error
            rejects.add(work.source.path, reject)
        elif work.created:
            report.indexed += 1
            report.faces += work.created
        else:
            report.skipped += 1
        report.below_quality += work.outcome.below_quality
        if work.outcome.seconds:
            report.stages.update(work.outcome.seconds)
        resume.done(work.source, work.outcome.sha256)
        seen(report)

    def unsettled() -> Iterator[Job]:
        for job in resume.jobs(sources):
            if not job.settled:
                yield job
                continue
            report.passed_by += 1
            if job.known is not None and job.known.reject is not None:
                note(Work(job.source, Outcome(job.sha256, reject=job.known.reject), job.known))
            else:  # as note() would, for the millions that did not change
                report.skipped += 1
                resume.done(job.source, job.sha256)
                seen(report)

    def embedded() -> Iterator[Work]:
        for work in embed(unsettled(), recipe, options):
            report.embedded += 1
            report.again += work.known is not None
            if len(report.people) < _NAMES:
                report.people.add(work.source.person)
            seen(report)
            yield work

    with _files(client, name, options) as files:
        resume = Resume(client, name, str(options.detection), files, again=options.again)
        for work in writer.write(embedded()):
            note(work)
    report.moved, report.replaced = resume.moved, resume.replaced
    _refresh(client, name)
    report.rejects_file = rejects.written
    return report.finish()


def _refresh(client: Elasticsearch, name: str) -> None:
    with speaking():
        client.indices.refresh(index=[alias(name), rejects_alias(name)])


def _files(client: Elasticsearch, name: str, options: Options) -> Fingerprints:
    with speaking():
        settings = client.indices.get_settings(index=alias(name), filter_path="*.settings.index.uuid")
    owner = next(iter(settings.values()))["settings"]["index"]["uuid"]
    file = options.remember / f"{name}.sqlite" if options.remember else None
    return Fingerprints(file, owner, trust=not options.rehash)


def embed(photos: Iterable[Job], recipe: Recipe, options: Options) -> Iterator[Work]:
    """The photos with what the worker processes made of them, in the order given. The processes start with the first photo.

    A worker that dies costs its one photo, and so does a photo that takes too long.
    """
    photos = iter(photos)
    first = next(photos, None)
    if first is None:
        return
    flying: deque[tuple[Job, Future[Outcome]]] = deque()
    pool = _pool(recipe, options)
    try:
        for job in itertools.chain([first], photos):
            flying.append((job, pool.schedule(represent, args=(job.source.place,), timeout=options.seconds_per_photo)))
            while flying and (len(flying) >= _WINDOW * options.workers or flying[0][1].done()):
                yield _landed(*flying.popleft(), options)
        while flying:
            yield _landed(*flying.popleft(), options)
        pool.close()
    finally:
        pool.stop()  # after close() and the last photo there is nothing left to stop
        pool.join()


def _pool(recipe: Recipe, options: Options) -> ProcessPool:
    from pebble import ProcessPool

    # Spawned, not forked: the parent has threads, and a fork could inherit a lock that is held.
    context = multiprocessing.get_context("spawn")
    return ProcessPool(
        options.workers, initializer=start, initargs=(recipe, options.detection, options.max_pixels, options.thumbnails), context=context
    )


def _landed(job: Job, future: Future[Outcome], options: Options) -> Work:
    from pebble import ProcessExpired

    try:
        outcome = future.result()
    except PhotoTimeout:
        outcome = Outcome(reject=Reject("timeout", f"The photo took more than {options.seconds_per_photo:g} seconds."))
    except ProcessExpired:
        outcome = Outcome(reject=Reject("worker_died", "The worker process died of this photo (out of memory, or a crash in a decoder)."))
    if outcome.sha256 is None:
        outcome = replace(outcome, sha256=job.sha256)
    return Work(job.source, outcome, job.known)
