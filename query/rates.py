"""How often verdicts on pairs are right, where it is known who is on the photos; every rate with its 95 % confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from query.pairs import Judged

_Z = 1.959964  # the normal distribution's 97.5 % point


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of how many; ``of`` can be 0."""

    number: int
    of: int

    @property
    def share(self) -> float | None:
        """From 0 to 1."""
        return self.number / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval, which holds for rates near 0 and 1, too. It takes the pairs for independent of each other."""
        if not self.of:
            return None
        share, z2 = self.number / self.of, _Z * _Z / self.of
        middle = (share + z2 / 2) / (1 + z2)
        half = _Z * math.sqrt(share * (1 - share) / self.of + z2 / (4 * self.of)) / (1 + z2)
        return max(0.0, middle - half), min(1.0, middle + half)

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape."""
        interval = self.interval and [round(end, 6) for end in self.interval]
        return {"rate": self.share and round(self.share, 6), "number": self.number, "of": self.of, "interval": interval}

    def __str__(self) -> str:
        if not self.of or not (interval := self.interval):
            return "-"
        return f"{self.number / self.of:.2%} ({interval[0]:.2%} to {interval[1]:.2%}; {self.number:,} of {self.of:,})"


class Rates:
    """Counts verdicts. A pair with a photo that can't be used is judged wrong, whatever it shows."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.pairs = self.verified = self.errors = 0
        self._distances: list[float] = []  # of pairs whose truth is known; NaN for errors
        self._same: list[bool] = []

    def add(self, judged: Judged) -> None:
        """Counts one pair."""
        self.pairs += 1
        self.verified += judged.verdict is not None and judged.verdict.verified
        self.errors += judged.error is not None
        if judged.pair.same is not None:
            self._distances.append(judged.verdict.distance if judged.verdict else math.nan)
            self._same.append(judged.pair.same)

    @property
    def labelled(self) -> int:
        """Pairs whose truth is known."""
        return len(self._same)

    def accuracy(self, threshold: float | None = None) -> Rate:
        """How many of the labelled pairs are judged right, at the recipe's threshold or another."""
        distances, same = self._arrays()
        within = distances <= (self.threshold if threshold is None else threshold)
        return Rate(int(((within == same) & ~np.isnan(distances)).sum()), len(same))

    @property
    def false_matches(self) -> Rate:
        """Pairs of two people that are taken for one."""
        distances, same = self._arrays()
        return Rate(int((distances[~same] <= self.threshold).sum()), int((~same).sum()))

    @property
    def false_non_matches(self) -> Rate:
        """Pairs of one person that are not recognised as such, errors among them."""
        distances, same = self._arrays()
        return Rate(int((~(distances[same] <= self.threshold)).sum()), int(same.sum()))

    def best_threshold(self) -> float | None:
        """The threshold with most labelled pairs right, halfway between two distances; the middle one of several.

        It was chosen on these pairs, so what it reaches on them is more than it would on others.
        """
        distances, same = self._arrays()
        known = ~np.isnan(distances)
        distances, same = distances[known], same[known]
        if not len(distances):
            return None
        order = np.argsort(distances, kind="stable")
        sorted_, right = distances[order], np.cumsum(np.where(same[order], 1, -1))  # more right than with a threshold below all
        last = np.append(sorted_[1:] != sorted_[:-1], True)  # of equal distances
        ends, gains = sorted_[last], right[last]
        candidates = np.concatenate([[ends[0] / 2], (ends[:-1] + ends[1:]) / 2, [ends[-1]]])
        best = np.flatnonzero(np.concatenate([[0], gains]) == max(0, int(gains.max())))
        return float(candidates[best[len(best) // 2]])

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape of the last line of ``facedex verify --pairs FILE --json``."""
        summary: dict[str, Any] = {
            "pairs": self.pairs,
            "verified": self.verified,
            "errors": self.errors,
            "threshold": self.threshold,
            "labelled": self.labelled,
        }
        if self.labelled:
            best = self.best_threshold()
            summary |= {
                "accuracy": self.accuracy().as_dict(),
                "false_match": self.false_matches.as_dict(),
                "false_non_match": self.false_non_matches.as_dict(),
                "best_threshold": None if best is None else round(best, 6),
                "accuracy_at_best_threshold": None if best is None else self.accuracy(best).as_dict(),
            }
        return summary

    def rows(self) -> list[tuple[str, str]]:
        """The lines of the table: what, and how much."""
        rows = [("pairs", f"{self.pairs:,}"), (f"the same person, at {self.threshold:g}", f"{self.verified:,}")]
        rows.append(("with a photo that can't be used", f"{self.errors:,}"))
        if self.labelled:
            rows += [
                ("accuracy", str(self.accuracy())),
                ("two people taken for one", str(self.false_matches)),
                ("one person not recognised", str(self.false_non_matches)),
            ]
        if self.labelled and (best := self.best_threshold()) is not None:
            rows.append(
                (
                    "best threshold on these pairs",
                    f"{best:.4f}, accuracy {self.accuracy(best).share or 0:.2%}: chosen on them, so optimistic",
                )
            )
        return rows

    def _arrays(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        return np.array(self._distances, np.float64), np.array(self._same, np.bool_)
