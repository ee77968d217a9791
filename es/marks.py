"""Marks that a running process leaves in the cluster, so that what it began is known to others, and found when it is killed.

A mark is an alias of the index in question, with a filter as the one place for words of one's own. Aliases change atomically, together
with others, and nobody searches through this one.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from es.local import processes

LEASE = 600.0  # seconds that a mark is good for; a process that lives renews its own


def owner(seconds: float = LEASE) -> dict[str, Any]:
    """This process, and until when its mark is good."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "birth": processes.mark(pid), "until": time.time() + seconds}


def is_over(mark: Mapping[str, Any]) -> bool:
    """Whether the process is gone, or has not renewed its mark."""
    if mark["host"] == socket.gethostname() and not processes.same(int(mark["pid"]), mark["birth"]):
        return True
    return time.time() > float(mark["until"])


def written(mark: Mapping[str, Any]) -> dict[str, Any]:
    """What is to stand beside the name of an alias to make it a mark."""
    return {"filter": {"terms": {"ingest.run": [json.dumps(dict(mark))]}}}


def read(alias: Mapping[str, Any]) -> dict[str, Any]:
    """The mark that an alias is."""
    found: dict[str, Any] = json.loads(alias["filter"]["terms"]["ingest.run"][0])
    return found
