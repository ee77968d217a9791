"""The bookkeeping of a run: each photo that is done with is counted once, its reject noted, its content remembered."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ingest.report import RejectsFile, Report
from ingest.resume import Job, Resume
from ingest.writer import Work
from workers.worker import Outcome

_NAMES = 2  # as many as tell whether all photos got the same one


@dataclass(frozen=True, slots=True)
class Tally:
    """What a run counts while photos pass.

    Args:
        report: where it counts.
        resume: what is told which photos are stored.
        rejects: where rejects are noted, besides the collection's own index.
        seen: called after each photo.
    """

    report: Report
    resume: Resume
    rejects: RejectsFile
    seen: Callable[[Report], None]

    def open(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """The jobs for which something is to be done; the others are done with."""
        for job in jobs:
            if not job.settled:
                yield job
                continue
            self.report.passed_by += 1
            if job.known is not None and job.known.reject is not None:
                self.stored(Work(job.source, Outcome(job.sha256, reject=job.known.reject), job.known))
            else:  # as stored() would, for the millions that did not change
                self.report.skipped += 1
                self.resume.done(job.source, job.sha256)
                self.seen(self.report)

    def embedded(self, works: Iterable[Work]) -> Iterator[Work]:
        """The photos that workers looked at, on their way to be stored."""
        for work in works:
            self.report.embedded += 1
            self.report.again += work.known is not None
            if len(self.report.people) < _NAMES:
                self.report.people.add(work.source.person)
            self.seen(self.report)
            yield work

    def stored(self, work: Work) -> None:
        """A photo whose faces or reject the collection has acknowledged."""
        report, reject = self.report, work.outcome.reject
        if reject is not None:
            report.rejected[reject.reason] += 1
            report.closed += reject.reason == "unreadable" and os.path.isdir(work.source.path)  # noqa: PTH112 - never an error
            self.rejects.add(work.source.path, reject)
        elif work.created:
            report.indexed += 1
            report.faces += work.created
        else:
            report.skipped += 1
        report.below_quality += work.outcome.below_quality
        if work.outcome.seconds:
            report.stages.update(work.outcome.seconds)
        report.outdated += work.outdated
        self.resume.done(work.source, work.outcome.sha256, has_faces=reject is None, is_reconciled=not work.outdated)
        self.seen(report)
