"""Elasticsearch's ways of writing sizes and watermarks, and its formula for the memory of vectors. All in bytes."""

from __future__ import annotations

import re

_UNITS = {"": 1, "b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "pb": 2**50}
_SIZE = re.compile(r"(-?\d+(?:\.\d+)?)\s*([kmgtp]?b?)", re.IGNORECASE)
_WHOLE = 100.0


def parse_size(text: str) -> int:
    """The bytes of ``200gb``; -1 is none.

    Raises:
        ValueError: it is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    unit = found[2].lower() if found else ""
    if found is None or (unit and not unit.endswith("b")):
        raise ValueError(f"{text!r} is no size")
    return int(float(found[1]) * _UNITS[unit])


def required_free(watermark: str, total: int, headroom: str = "-1") -> int:
    """How much of a disk must be free for it to be below a watermark.

    Args:
        watermark: as the cluster's setting has it: ``85%`` or ``0.85`` used at most, or ``500mb`` free at least.
        total: bytes of the disk.
        headroom: the most that a share comes to, as the setting ``max_headroom`` has it; -1: no limit.

    Raises:
        ValueError: neither a share nor a size.
    """
    text = watermark.strip()
    if text.endswith("%"):
        share = float(text[:-1]) / _WHOLE
    elif re.fullmatch(r"[01]?\.\d+|1\.0*|[01]", text):
        share = float(text)
    else:
        return parse_size(text)
    free = round(total * (1 - share))
    limit = parse_size(headroom)
    return free if limit < 0 else min(free, limit)


def vector_bytes(index_type: str, dims: int, m: int = 16) -> int:
    """The memory that one vector takes of the file system's cache when searches are to be quick, by Elastic's own formula."""
    kind, _, structure = index_type.rpartition("_")
    values = {"": 4 * dims, "int8": dims + 4, "int4": dims // 2 + 4, "bbq": dims // 8 + 14}
    if kind not in values:
        raise ValueError(f"{index_type!r} is no index type")
    return values[kind] + (4 * m if structure == "hnsw" else 0)
