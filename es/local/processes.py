"""Processes told apart for certain: a pid is used again after a while, a pid with its birth mark is not."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

_POLL = 0.05  # seconds between two looks


def mark(pid: int) -> str | None:
    """The birth mark of a live process, None for one that is gone (or is only waiting to be reaped)."""
    return _linux_mark(pid) if sys.platform == "linux" else _ps_mark(pid)


def same(pid: int, its_mark: str | None) -> bool:
    """Whether this very process, not a later one of the same number, is still alive."""
    return its_mark is not None and mark(pid) == its_mark


def wait_gone(pid: int, its_mark: str | None, seconds: float) -> bool:
    """Waits for the process to end."""
    deadline = time.monotonic() + seconds
    while same(pid, its_mark):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def send(pid: int, its_mark: str | None, number: signal.Signals) -> bool:
    """Sends a signal, but only to this very process."""
    if not same(pid, its_mark):
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    return True


def _linux_mark(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold spaces and brackets
    return None if state in "ZX" else f"{_boot()} {fields[18]}"  # field 22 of stat: ticks from boot to birth


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "boot"


def _ps_mark(pid: int) -> str | None:
    import subprocess

    found = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=10, check=False)
    state, _, born = found.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else born.strip()
