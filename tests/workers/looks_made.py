"""What workers are given to do in tests."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from faces.recipe import DEFAULT
from ingest.resume import Job
from ingest.run import Options, embed
from photos.places import Given
from photos.sources import Source
from workers.worker import Outcome


def die(_: str) -> list[Outcome]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def hang(_: str) -> list[Outcome]:
    time.sleep(60)
    return []


class Deadly(Given):
    """A photo that kills whoever reads it."""

    def read(self) -> bytes:
        die("")
        return super().read()


class Endless(Given):
    """A photo that is never read to its end."""

    def read(self) -> bytes:
        hang("")
        return super().read()


def vectors(paths: list[Path], options: Options) -> list[tuple[str | None, bytes]]:
    jobs = (Job(Source(str(path)), None, None) for path in paths)
    return [(work.outcome.sha256, work.outcome.faces[0].embedding.tobytes()) for work in embed(jobs, DEFAULT, options)]
