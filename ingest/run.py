"""One ingest run: sources, what is known of them, worker processes, the writer. Everything flows as iterators, in order."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import FacedexError
from core.terminal import say
from es import versions
from es.client import speaking
from es.documents import alias, rejects_alias
from es.loading import BulkLoad, recover
from es.merging import build_if_due
from es.operations import recorded
from es.transport import patience
from ingest.fingerprints import Fingerprints
from ingest.known import PASSING
from ingest.report import RejectsFile, Report
from ingest.resume import Job, Resume
from ingest.tally import Tally
from ingest.writer import Work, Writer
from workers.executors import SECONDS_PER_PHOTO, cores, embedder
from workers.flow import flow
from workers.worker import Detection, Outcome

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from faces.recipe import Recipe
    from photos.sources import Source
    from workers.executors import Embedder

_SOON = 5.0  # seconds
_MANY = 10_000  # new photos from which a run is a bulk load


@dataclass(frozen=True, slots=True)
class Options:
    """How to ingest. A photo is given up after ``seconds_per_photo``. ``dask`` is the address of a cluster to use for ``workers``."""

    detection: Detection = field(default_factory=Detection)
    workers: int = field(default_factory=cores)
    max_pixels: int = 100_000_000
    seconds_per_photo: float = SECONDS_PER_PHOTO
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
    report = Report(run=f"{uuid.uuid4()}", collection=name)
    with recorded(client, "ingest", name, lambda: report.finish().facts()), patience(client):
        had_faces = settle(client, name)
        writer = Writer(client, name, model=recipe.model, run=report.run, detection=str(options.detection))
        with _files(client, name, options) as files, BulkLoad(client, name, say, merge=options.merge) as load:
            resume = Resume(client, name, str(options.detection), files, again=options.again)
            tally = Tally(report, resume, rejects, seen)
            if options.bulk_load:
                load.begin()
            # Closed here, whatever happens: an iterator that is only forgotten can be closed by any thread at any time.
            with closing(resume.jobs(sources)) as jobs, closing(embed(tally.open(jobs), recipe, options, report)) as works:
                try:
                    for work in writer.write(tally.embedded(works)):
                        tally.stored(work)
                        if options.bulk_load is None and report.indexed >= _MANY:
                            load.try_begin(keep_replicas=had_faces)
                        load.renew()
                except KeyboardInterrupt:
                    with suppress(FacedexError):  # what is stored is to be seen
                        _refresh(client.options(max_retries=0, request_timeout=_SOON), name)
                    raise
        _refresh(client, name)
        if options.merge and report.indexed:
            build_if_due(client, alias(name), say)
        report.outdated += resume.outdated
        report.moved, report.renamed, report.replaced = resume.moved, resume.renamed, resume.replaced
        report.stages.update({"lookup": resume.seconds, "write": writer.seconds})
        report.rejects_file = rejects.written
    return report.finish()


def settle(client: Elasticsearch, name: str) -> bool:
    """Makes what an earlier run stored visible, even one that was cut off; says whether there are faces."""
    versions.recover(client, name)
    recover(client, name, say)
    _refresh(client, name)
    with speaking():
        return int(client.count(index=alias(name))["count"]) > 0


def _refresh(client: Elasticsearch, name: str) -> None:
    with speaking():
        client.indices.refresh(index=[alias(name), rejects_alias(name)])


def _files(client: Elasticsearch, name: str, options: Options) -> Fingerprints:
    file = options.remember / f"{name}.sqlite" if options.remember else None
    return Fingerprints(file, versions.origin(client, name), trust=not options.rehash)


def embed(photos: Iterable[Job], recipe: Recipe, options: Options, report: Report | None = None) -> Generator[Work]:
    """The photos with what the workers made of them, in the order given (see :func:`workers.flow.flow`)."""

    begun = 0.0

    def start() -> Embedder:
        nonlocal begun
        begun = time.monotonic()
        looks = (recipe, options.detection, options.max_pixels, options.thumbnails)
        executor = embedder(options.workers, options.dask, looks, options.seconds_per_photo)
        if report is not None:
            report.workers = executor.width
        return executor

    with closing(flow(photos, lambda job: job.source.place, start)) as looked_at:
        for job, outcome in looked_at:
            if report is not None and "start" not in report.stages:  # until the first photo came, without the look at it
                report.stages.update({"start": max(0.0, time.monotonic() - begun - sum((outcome.seconds or {}).values()))})
            yield _landed(job, outcome)


def _landed(job: Job, outcome: Outcome) -> Work:
    if outcome.sha256 is None and outcome.reject is not None and outcome.reject.reason in PASSING:  # the worker could not tell any more
        outcome = replace(outcome, sha256=job.sha256)
    # A photo that can't be read now, or was changed since it was hashed: nothing is known of that, and the next run will see to it.
    return Work(job.source, outcome, job.known if outcome.sha256 == job.sha256 else None)
