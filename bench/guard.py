"""Fails when a part of Facedex has become half as fast as it was: each beside a peer, by turns, in the same minute.

What is compared is the time that Facedex takes, divided by that of its peer, so that a slow machine, or one with much else to do, moves
both: of CPU time the median of the turns, of waits the shortest, into which nothing else came. The bounds are 1.8 times what was
measured: noise stays below, twice as slow does not. A comparison that fails is made again with more turns, twice at most. A node of
Facedex's own is used, and what is made in it is deleted.

    python bench/guard.py
    python bench/guard.py --only cold_start --json

Where something became slower for a good reason, or a peer quicker, measure again and change the table, in the same commit.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

# With more than one thread, a busy machine would slow numpy far more than what is beside it.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.guarded import PARTS, Pair, Turn  # noqa: E402
from bench.results import keep  # noqa: E402
from core.terminal import print_json, say, show, table  # noqa: E402

_SLACK = 1.8  # a little less than twice
_RETRIES = 2


@dataclass(frozen=True)
class Rule:
    """One comparison."""

    what: str
    beside: str
    measured: float  # Facedex's time divided by its peer's: the median of many runs on a busy machine; of waits, on a quieter one
    waits: bool = False  # time passes, and not only CPU: what else the machine has to do only ever makes it longer

    @property
    def bound(self) -> float:
        """Above it, the comparison fails."""
        return round(_SLACK * self.measured, 3)


RULES = {
    "cold_start": Rule("facedex --help, CPU", "python -c 'import numpy'", 4.9),
    "embed": Rule("a photo to its vector, CPU", "dlib's own detector and network", 0.167),
    "index": Rule("1,000 faces written, time", "helpers.bulk with vectors as lists", 0.55, waits=True),
    "index_cpu": Rule("1,000 faces written, CPU of the client", "helpers.bulk with vectors as lists", 0.36),
    "search": Rule("a search of 20,000 faces, time", "a search with a list, by defaults", 1.4, waits=True),
    "batch": Rule("50 searches in a request, time", "the same of those", 1.4, waits=True),
}
TURNS = {"cold_start": 5, "embed": 4, "index": 12, "search": 12}  # of each part


def ratio(pairs: Sequence[Pair], *, waits: bool = False) -> float:
    """The median of what the turns say; of waits, the shortest one beside the peer's shortest."""
    if waits:
        return min(ours for ours, _ in pairs) / min(theirs for _, theirs in pairs)
    return statistics.median(ours / theirs for ours, theirs in pairs)


def judge(turn: Turn, names: Sequence[str], turns: int, rules: Mapping[str, Rule] = RULES) -> dict[str, dict[str, Any]]:
    """Compares, and where something is above its bound compares again: each time with the turns so far and as many again."""
    taken: dict[str, list[Pair]] = {name: [] for name in names}
    ratios: dict[str, float] = {}
    for _ in range(1 + _RETRIES):
        for _ in range(turns):
            for name, pair in turn().items():
                taken[name].append(pair)
        ratios = {name: ratio(taken[name], waits=rules[name].waits) for name in names}
        if all(ratios[name] <= rules[name].bound for name in names):
            break
    return {
        name: {
            "ratio": round(ratios[name], 4),
            "measured": rules[name].measured,
            "bound": rules[name].bound,
            "turns": len(taken[name]),
            "facedex_ms": round(1000 * statistics.median(ours for ours, _ in taken[name]), 3),
            "peer_ms": round(1000 * statistics.median(theirs for _, theirs in taken[name]), 3),
            "passed": ratios[name] <= rules[name].bound,
        }
        for name in names
    }


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Only this part: {', '.join(PARTS)}.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the figures, as JSON.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare every part with its peer; exit code 1: one of them is twice as slow as it was."""
    begun, figures = time.perf_counter(), dict[str, dict[str, Any]]()
    for part, (opened, names) in PARTS.items():
        if only and part not in only:
            continue
        prepared: Callable[[], AbstractContextManager[Turn]] = opened
        with prepared() as turn:
            figures |= judge(turn, names, TURNS[part])
    if out is not None:
        keep(out, "guard", figures)
    if json:
        print_json(figures)
    else:
        _tell(figures)
    say(f"{time.perf_counter() - begun:.0f} s")
    if slow := [name for name, each in figures.items() if not each["passed"]]:
        sys.exit(f"Slower than it may be: {', '.join(slow)}. See bench/guard.py.")


def _tell(figures: Mapping[str, Mapping[str, Any]]) -> None:
    numbers = ("Facedex ms", "peer ms", "ratio", "was", "may be", "turns")
    shown = table("", "beside", *numbers, "", right=numbers)
    for name, each in figures.items():
        values = (
            f"{each['facedex_ms']:.2f}",
            f"{each['peer_ms']:.2f}",
            f"{each['ratio']:.3g}",
            f"{each['measured']:g}",
            f"{each['bound']:g}",
        )
        shown.add_row(RULES[name].what, RULES[name].beside, *values, str(each["turns"]), "" if each["passed"] else "too slow")
    show(shown)


if __name__ == "__main__":
    typer.run(main)
