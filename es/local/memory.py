"""How much memory the embedded node may take."""

from __future__ import annotations

import os
from pathlib import Path

_MB = 1024 * 1024
SMALLEST, LARGEST = 512, 4096  # MB

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def heap(wish: str | None, nodes: int = 1) -> str:
    """The heap of each node as Java writes it: the wish, else its share of a quarter of the memory, between 512 MB and 4 GB."""
    if wish:
        return wish.lower()
    return f"{min(max(available() // 4 // nodes // _MB, SMALLEST), LARGEST)}m"


def available() -> int:
    """Bytes of memory of this machine, or of this container where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *_cgroup_limits()])


def _cgroup_limits() -> list[int]:
    """Every limit from our control group (version 2) up to the root: the lowest counts."""
    try:
        ours = next(line[3:].strip() for line in _OWN_CGROUP.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    folder = _CGROUPS / ours.lstrip("/")
    limits = []
    for place in (folder, *folder.parents):
        if not place.is_relative_to(_CGROUPS):
            break
        try:
            limits.append(int((place / "memory.max").read_text()))
        except (OSError, ValueError):  # no such file at the root; "max" where there is no limit
            continue
    return limits
