"""Finds, in what a server left when it did not start, the one line that tells why."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from core.errors import EngineError, FacedexError, StorageError
from es.local import places
from es.local.places import Home

_LAST = 256 * 1024  # bytes to read from the end of a file

_JAVA = re.compile(  # the Java machine itself, before a line of Elasticsearch ran
    r"^(?:# )?((?:Too small|There is insufficient memory|Invalid \w+ heap|Could not reserve|Initial heap|Unrecognized VM option).*)",
    re.MULTILINE,
)
_CAUSE = re.compile(r"^Caused by: (?:[\w.$]+\.)?(\w+(?:Exception|Error)): (.+)", re.MULTILINE)
_RAISED = re.compile(r"^(?:[\w.$]+\.)?(\w+(?:Exception|Error)): (.+)", re.MULTILINE)
_SAID = re.compile(r"^(?:ERROR: |Error: |\[.*\]\[(?:ERROR|FATAL)\].*?\] (?:\[\w+\] )?)(.+)", re.MULTILINE)
_REMEDY = "Free it, or set FACEDEX_DATA_DIR to another place."


def telling_error(error: FacedexError | OSError, home: Home, log_size: int) -> FacedexError:
    """The error for people: as it is if it says something, else made from the output and from what the log gained."""
    if isinstance(error, OSError):
        return StorageError.of(error, f"write to {home.path}", _REMEDY)
    if str(error) or isinstance(error, StorageError):
        return error
    output, log = _read(home.output, 0), _read(home.log, log_size)
    text = f"{output}\n{log}"
    if "No space left on device" in text:
        return StorageError.of(OSError(errno.ENOSPC, ""), f"write to {home.path}", _REMEDY)
    if "Address already in use" in text or "BindHttpException" in text:
        return EngineError(
            "A port was taken by another program: run this again, or set FACEDEX_NODE_PORT to another one, or 0 for any.", code="port_taken"
        )
    where = home.log if log else home.output  # the log has nothing when not even the Java machine came up
    return EngineError(f"Elasticsearch did not start: {line(text)} (its log is {where}).", code="engine_start")


def line(text: str) -> str:
    """What Java says, else the innermost cause, else the first exception, else what was said as an error, else the last line."""
    if java := _JAVA.findall(text):
        return str(java[0]).rstrip(".")
    if causes := _CAUSE.findall(text):
        return ": ".join(causes[-1])
    if raised := _RAISED.findall(text):
        return ": ".join(raised[0])
    if said := _SAID.findall(text):
        return str(said[0])
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("WARNING", "\tat "))]
    return lines[-1].strip() if lines else "it ended without a word"


def _read(path: Path, start: int) -> str:
    return places.read_inside(path, _LAST, start).decode(errors="replace")
