"""Whether a photo is still where a document says it was. In doubt it is: what is judged gone loses its faces."""

from __future__ import annotations

import os
import re

_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
_WITHIN = ("::", "!/")  # a path inside an archive: no file of its own


def files(stored: str) -> list[str]:
    """The files that a stored path can mean. (Bytes that are not UTF-8 are stored as escapes: see ``ingest.writer.text``.)

    Empty for what is no file on this machine's disks: an address, or a photo within an archive.
    """
    if not stored.startswith("/") or any(mark in stored for mark in _WITHIN):
        return []
    if "\\x" not in stored:
        return [stored]
    raw = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), os.fsencode(stored))
    return [stored, os.fsdecode(raw)]


def is_gone(stored: str) -> bool:
    """Whether there is certainly no file at a stored path. A disk that can't be read, for instance, leaves it uncertain."""
    meant = files(stored)
    return bool(meant) and all(map(_is_absent, meant))


def _is_absent(path: str) -> bool:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return False
    return False
