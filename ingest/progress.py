"""What a person sees while photos are ingested: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from core.terminal import console, number_of, say

if TYPE_CHECKING:
    from ingest.report import Report

_LINE_SECONDS = 10.0


def _line(report: Report) -> str:
    return f"{number_of(report.faces, 'face')} stored, {report.skipped:,} skipped, {report.rejected.total():,} rejected"


def _pace(report: Report, total: float | None) -> str:
    """Photos a second so far, and the time left at that rate. (Results come in bursts, so the last moments say little.)"""
    rate = report.looked_at / max(time.monotonic() - report.begun, 1e-9)
    if total is None or not rate:
        return f"{rate:,.0f} a second"
    return f"{rate:,.0f} a second, {timedelta(seconds=round((total - report.looked_at) / rate))} left"


@contextmanager
def shown(photos: Callable[[], Iterable[object]]) -> Iterator[Callable[[Report], None]]:
    """Shows progress on stderr; yields what is to be called after each photo.

    Args:
        photos: lists all photos once more. They are counted beside the run, so that it starts at once and the time left comes soon.
    """
    with _bar(photos) if sys.stderr.isatty() else _lines() as seen:
        yield seen


@contextmanager
def _bar(photos: Callable[[], Iterable[object]]) -> Iterator[Callable[[Report], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TextColumn("{task.fields[line]}"),
    )
    with Progress(*columns, console=console(stderr=True)) as progress:
        task = progress.add_task("Photos looked at", total=None, pace="", line="")

        def count() -> None:
            with suppress(Exception):  # the run itself will say it
                progress.update(task, total=sum(1 for _ in photos()))

        threading.Thread(target=count, name="count", daemon=True).start()

        def seen(report: Report) -> None:
            pace = _pace(report, progress.tasks[task].total)
            progress.update(task, completed=report.looked_at, pace=pace, line=_line(report))

        yield seen


@contextmanager
def _lines() -> Iterator[Callable[[Report], None]]:
    due = time.monotonic() + _LINE_SECONDS

    def seen(report: Report) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _LINE_SECONDS
            say(f"{number_of(report.looked_at, 'photo')} looked at, {_pace(report, None)}: {_line(report)}")

    yield seen
