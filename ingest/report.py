"""What an ingest run did: every photo is counted exactly once, as indexed, skipped or rejected."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from core.errors import StorageError
from core.files import make_private
from ingest.writer import text
from workers.worker import Reject

OWN = ("start", "lookup", "write")  # the stages of this process: from the start of workers to their first photo is one


@dataclass(slots=True)
class Report:
    """Counts of one run, filled while it goes on."""

    run: str
    collection: str
    indexed: int = 0  # photos whose faces were stored
    faces: int = 0
    skipped: int = 0  # photos whose faces were there already
    moved: int = 0  # photos among the skipped whose path was updated
    renamed: int = 0  # photos among the skipped whose person or labels were updated
    replaced: int = 0  # photos whose file has another content now
    outdated: int = 0  # documents that should have gone, which this user may not delete
    pruned: Counter[str] = field(default_factory=Counter)  # faces and rejects whose photos are gone
    rejected: Counter[str] = field(default_factory=Counter)
    closed: int = 0  # folders among the rejects: what they hold is not known
    embedded: int = 0  # photos that the models looked at
    again: int = 0  # of these, photos that were known, but looked at in another way or not stored completely
    people: set[str | None] = field(default_factory=set)  # a few of the names given
    below_quality: int = 0  # faces left out of photos that have better ones
    passed_by: int = 0  # photos about which all was known
    stages: Counter[str] = field(default_factory=Counter)  # seconds by stage: of OWN of this process, of the others of all workers together
    begun: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    rejects_file: str | None = None
    workers: int = 1  # that look at photos at the same time

    @property
    def bottleneck(self) -> str:
        """What the run waited for most: ``workers`` (photos were looked at), ``write`` or ``lookup``."""
        shares: dict[str, float] = {stage: self.stages[stage] for stage in ("lookup", "write")}
        shares["workers"] = sum(seconds for stage, seconds in self.stages.items() if stage not in OWN) / self.workers
        return max(shares, key=lambda stage: shares[stage])

    @property
    def photos(self) -> int:
        """All photos so far."""
        return self.indexed + self.skipped + self.rejected.total()

    @property
    def looked_at(self) -> int:
        """Photos so far, also those that are embedded but not stored yet."""
        return max(self.photos, self.embedded + self.passed_by)

    def finish(self) -> Self:
        """Stops the clock."""
        self.seconds = time.monotonic() - self.begun
        return self

    def facts(self) -> dict[str, Any]:
        """What is recorded of the run, see :data:`es.operations.MAPPING`."""
        counts = {"photos": self.photos, "indexed": self.indexed, "skipped": self.skipped, "embedded": self.embedded}
        reasons = [{"reason": reason, "count": count} for reason, count in self.rejected.most_common()]
        rate = round(self.photos / self.seconds, 1) if self.seconds else 0.0
        run = {"run": self.run, **counts, "rejected": self.rejected.total(), "reasons": reasons, "photos_per_second": rate}
        return {"faces": self.faces, "ingest": run}

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape of ``facedex ingest --json``."""
        return {
            "run": self.run,
            "collection": self.collection,
            "photos": self.photos,
            "indexed": self.indexed,
            "faces": self.faces,
            "skipped": self.skipped,
            "moved": self.moved,
            "renamed": self.renamed,
            "replaced": self.replaced,
            "outdated": self.outdated,
            "pruned": dict(self.pruned),
            "rejected": dict(self.rejected.most_common()),
            "embedded": self.embedded,
            "again": self.again,
            "below_quality": self.below_quality,
            "seconds": round(self.seconds, 3),
            "photos_per_second": round(self.photos / self.seconds, 1) if self.seconds else 0.0,
            "stages": {stage: round(seconds, 3) for stage, seconds in self.stages.items()},
            "bottleneck": self.bottleneck,
            "rejects_file": self.rejects_file,
        }


_DOING = {
    "read": "reading photos",
    "decode": "decoding photos",
    "faces": "finding and embedding faces",
    "quality": "measuring the quality of faces",
    "lookup": "reading photos that may have changed, and asking the collection what it knows of them",
    "write": "storing faces",
}


_TELLING = 100  # photos from which the slowest stage says something


def pace(report: Report) -> str:
    """A sentence or two: which stage a run waited for most, where it had photos enough to tell, and the seconds of each."""
    own = {stage: report.stages[stage] for stage in OWN if stage in report.stages}
    theirs = {stage: seconds for stage, seconds in report.stages.items() if stage not in OWN}
    together = f"; of {report.workers} workers together: " if report.workers > 1 else ", "
    said = f"By stage: {_seconds(own)}{together + _seconds(theirs) if theirs else ''}."
    if report.photos < _TELLING:
        return said
    if report.bottleneck == "workers":
        slowest = max(theirs, key=lambda stage: theirs[stage], default="faces")
        at_once = f" ({report.workers} at a time)" if report.workers > 1 else ""
    else:
        slowest, at_once = report.bottleneck, ""
    return f"Slowest was {_DOING.get(slowest, slowest)}{at_once}. {said}"


def _seconds(stages: Mapping[str, float]) -> str:
    return ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stages.items())


def _closed_to_others(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class RejectsFile:
    """One JSON line per reject; the file is made with the first one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            with self._guarded():
                self._file.close()

    @property
    def written(self) -> str | None:
        """Where the rejects are, if there are any."""
        return str(self._path) if self._file is not None else None

    def add(self, path: Path | str, reject: Reject) -> None:
        """Writes one reject.

        Raises:
            StorageError: the file can't be written.
        """
        with self._guarded():
            if self._file is None:
                make_private(self._path.parent)
                self._file = open(self._path, "w", encoding="utf-8", buffering=1, opener=_closed_to_others)  # noqa: SIM115
            self._file.write(
                json.dumps({"image": text(path), "reason": reject.reason, "message": reject.message}, ensure_ascii=False) + "\n"
            )

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError.of(error, f"write the rejects to {self._path}", "Choose another file with --rejects.") from None
