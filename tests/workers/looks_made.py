"""What workers are given to do in tests."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from faces.recipe import DEFAULT
from ingest.resume import Job
from ingest.run import Options, embed
from photos.sources import Source
from workers.worker import Outcome


def die(_: str) -> Outcome:
    os.kill(os.getpid(), signal.SIGKILL)
    return Outcome()


def hang(_: str) -> Outcome:
    time.sleep(60)
    return Outcome()


def vectors(paths: list[Path], options: Options) -> list[tuple[str | None, bytes]]:
    jobs = (Job(Source(str(path)), None, None) for path in paths)
    return [(work.outcome.sha256, work.outcome.faces[0].embedding.tobytes()) for work in embed(jobs, DEFAULT, options)]
