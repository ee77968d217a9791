"""What a distance means in one gallery: how often a stranger comes as close, and how often a known person does not.

The words are those of ISO/IEC 19795-1 and of NIST's face recognition tests (FRTE 1:N). A search of somebody who is not in the gallery is
*non-mated*, one of somebody who is there *mated*. At a threshold t:

FPIR(t), false positive identification rate
    the share of non-mated searches whose nearest face is within t.
FNIR(t), false negative identification rate
    the share of mated searches in which the right person does not come first within t (rank 1 and threshold).

Both depend on the size of the gallery: a stranger has as many chances to be accepted as there are faces.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.errors import CollectionError

if TYPE_CHECKING:
    import numpy as np
    from elasticsearch import Elasticsearch
    from numpy.typing import NDArray

    from es.collections import Collection
    from query.nearest import Nearest

    Reals = NDArray[np.float64]

DEFAULT_FPIR = 0.01
LEAST_PEOPLE = 300  # with fewer, not even 1 in 10 could be measured
# Doddington's rule of 30 (ISO/IEC 19795-1): below 30 errors, a rate is not known to within 30 % (at 90 % confidence). A person counts as
# one trial, however many photos there are of them: these are not independent.
_ERRORS = 30
# The rule of three: where no error was seen in n trials, the rate is below 3/n (at 95 % confidence). It is never said to be nothing.
_NONE_SEEN = 3
# Nearer than this share of the recipe's threshold for pairs, two people are taken for one under two names (or one photo, copied).
SUSPICIOUS = 0.2
_POINTS = 66  # of the curve, by each rate and by distance
_DIGITS = 6
_WORST = 2.0  # the largest cosine distance

Suspect = tuple[str, str, float]  # two people who may be one, and their distance


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured on the labelled faces of a collection. Rates are from 0 to 1, distances those of the recipe's metric.

    Args:
        threshold: the distance up to which a match is verified.
        wished: the FPIR asked for.
        promised: the FPIR at the threshold: about the one wished, or more where that was less than can be measured.
        missed: the FNIR at the threshold; ``None`` where too few people have a second photo.
        faces: of the collection, when it was measured.
        people: who were searched as strangers.
        probes: their photos that were searched.
        mated: those of them whose person has another photo.
        suspicious: probes left out because they have a near twin under another name.
        extrapolated: how many times more faces the collection has than these probes were compared with.
        curve: points (distance, FPIR, FNIR), distances rising; FNIR is 1 throughout where it is not known.
        made: when, as ISO 8601.
        suspects: up to 20 pairs of people who may be one. Not stored: a name that is erased must not stay here.
    """

    threshold: float
    wished: float
    promised: float
    missed: float | None
    faces: int
    people: int
    probes: int
    mated: int
    suspicious: int
    extrapolated: float
    curve: tuple[tuple[float, float, float], ...]
    made: str
    suspects: tuple[Suspect, ...] = ()

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any]) -> Calibration | None:
        """The calibration among what is noted of a collection (``Collection.notes``); ``None`` where there is none that can be read."""
        try:
            stored = dict(notes["calibration"])
            curve = tuple((float(t), float(fpir), float(fnir)) for t, fpir, fnir in stored.pop("curve"))
            return cls(curve=curve, **stored) if curve else None
        except (KeyError, TypeError, ValueError):
            return None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON and for the notes; :meth:`from_notes` reads them back."""
        values = asdict(self)
        del values["suspects"]
        return values | {"curve": [list(point) for point in self.curve]}

    @property
    def resolution(self) -> float:
        """The smallest FPIR that these people can measure (rule of 30)."""
        return resolution(self.people)

    def fpir(self, distance: float) -> float:
        """How often a stranger comes as close as this, in this gallery. Never 0: with n people, nothing below 3/n is known."""
        return min(1.0, max(_NONE_SEEN / self.people, self._between(distance, 1)))

    def fnir(self, distance: float) -> float | None:
        """How often a known person does not come first within this distance; ``None`` where it is not known."""
        return None if self.missed is None else self._between(distance, 2)

    def _between(self, distance: float, rate: int) -> float:
        after = bisect_right(self.curve, distance, key=lambda point: point[0])
        if after == 0:
            return self.curve[0][rate]
        if after == len(self.curve):
            return self.curve[-1][rate]
        low, high = self.curve[after - 1], self.curve[after]
        return low[rate] + (high[rate] - low[rate]) * (distance - low[0]) / (high[0] - low[0])

    def is_outdated(self, faces_now: int) -> bool:
        """Whether the gallery has grown or shrunk by more than a half since: rates are those of a gallery of its size."""
        return not self.faces / 2 <= faces_now <= self.faces * 3 / 2


def resolution(people: int) -> float:
    """The smallest FPIR that so many people can measure."""
    return min(1.0, _ERRORS / people)


def _silent(_: str) -> None:
    pass


def measure(
    client: Elasticsearch,
    collection: Collection,
    wished: float = DEFAULT_FPIR,
    seed: int = 0,
    tell: Callable[[str], None] = _silent,
) -> Calibration:
    """Searches the labelled faces of a collection in itself, exactly, and says what each distance means there.

    Args:
        client: the connection.
        collection: whose faces; nothing is changed.
        wished: the FPIR that the threshold is to have.
        seed: of the sample that is drawn where there are more than 20,000 photos.
        tell: is told now and then how far it is.

    Raises:
        CollectionError: too few people (code ``too_few_people``).
        EngineError: Elasticsearch can't be reached or refuses.
    """
    from es.collections import count
    from query.nearest import nearest

    faces = count(client, collection)["faces"]
    found = nearest(client, collection.index, seed, tell)
    least = SUSPICIOUS * float(collection.recipe["threshold"])
    return of_distances(collection.name, found, faces, wished, least, (float(collection.recipe["search_threshold"]),))


def of_distances(name: str, found: Nearest, faces: int, wished: float, suspicious: float, also: tuple[float, ...] = ()) -> Calibration:
    """The calibration that follows from the distances of each probe.

    Everybody counts the same, however many photos there are of them: strangers who come are different people, and one who fills a gallery
    would otherwise speak for all. So each probe weighs 1 / (the probes of its person).

    Args:
        name: of the collection, for the sentence.
        found: the distances.
        faces: all faces that a search of the collection looks at.
        wished: the FPIR that the threshold is to have.
        suspicious: probes that have a face of another name nearer than this are left out.
        also: distances that are to stand on the curve.

    Raises:
        CollectionError: too few people (code ``too_few_people``).
    """
    import numpy as np

    twins = found.other < suspicious
    used = ~twins
    people = len(np.unique(found.person[used]))
    if people < LEAST_PEOPLE:
        raise CollectionError(
            f"The collection {name!r} can't be calibrated: that needs photos, showing one face each, of {LEAST_PEOPLE} people or more, "
            f"and it has them of {people}. Until then the threshold is DeepFace's.",
            code="too_few_people",
        )
    other = found.other[used]
    weights = _everybody_the_same(found.person[used])
    extrapolated = max(1.0, faces / float(np.average(found.compared[used], weights=weights)))
    other, false = _rising(other, weights)
    false = 1 - (1 - false) ** extrapolated  # each further face is a further chance

    has_mate = used & np.isfinite(found.mate)
    known = len(np.unique(found.person[has_mate])) >= _ERRORS
    # Whoever has somebody else before them is missed at any threshold.
    mate = np.where(found.mate < found.other, found.mate, np.inf)[has_mate]
    mate, hit = _rising(mate, _everybody_the_same(found.person[has_mate]))

    threshold = _threshold(other, false, max(wished, resolution(people)))
    distances = _points(other, false, mate, hit, (*also, threshold))
    rates = [(t, round(_at(other, false, t), _DIGITS), round(1 - _at(mate, hit, t), _DIGITS) if known else 1.0) for t in distances]
    return Calibration(
        threshold=threshold,
        wished=wished,
        promised=round(max(_NONE_SEEN / people, _at(other, false, threshold)), _DIGITS),
        missed=round(1 - _at(mate, hit, threshold), _DIGITS) if known else None,
        faces=faces,
        people=people,
        probes=int(used.sum()),
        mated=int(has_mate.sum()),
        suspicious=int(twins.sum()),
        extrapolated=round(extrapolated, 3),
        curve=tuple(rates),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        suspects=found.suspects(suspicious),
    )


def _everybody_the_same(person: NDArray[np.intp]) -> Reals:
    """Weights of probes, such that each person has the same, and all together 1."""
    import numpy as np

    if not len(person):
        return np.zeros(0)
    weights: Reals = 1 / np.bincount(person)[person]
    weights /= weights.sum()
    return weights


def _rising(distances: Reals, weights: Reals) -> tuple[Reals, Reals]:
    """The distances in order, and the weight of all up to each."""
    import numpy as np

    order = np.argsort(distances, kind="stable")
    return distances[order], np.minimum(np.cumsum(weights[order]), 1.0)


def _at(distances: Reals, rate: Reals, threshold: float) -> float:
    """The weight of all distances up to a threshold."""
    import numpy as np

    up_to = int(np.searchsorted(distances, threshold, side="right"))
    return float(rate[up_to - 1]) if up_to else 0.0


def _threshold(distances: Reals, rate: Reals, goal: float) -> float:
    """The largest threshold whose rate is at most the goal: halfway to the first distance that would be too many."""
    import numpy as np

    first = int(np.searchsorted(rate, goal + 1e-12, side="right").clip(max=len(rate) - 1))
    equal = int(np.searchsorted(distances, distances[first], side="left"))
    below = float(distances[equal - 1]) if equal else 0.0
    # Rounded down, so that it stays below.
    return float(np.floor((below + distances[first]) / 2 * 10**_DIGITS) / 10**_DIGITS)


def _points(other: Reals, false: Reals, mate: Reals, hit: Reals, also: tuple[float, ...]) -> list[float]:
    """About 200 distances that show both rates well: a third by FPIR, on a logarithmic scale, a third by FNIR, and a third evenly, so that
    nothing is made up where there is no face for long.
    """
    import numpy as np

    low = other[np.searchsorted(false, np.geomspace(max(false[0], 1e-9), false[-1], _POINTS)).clip(max=len(other) - 1)]
    even = mate[np.searchsorted(hit, np.linspace(0, 1, _POINTS)).clip(max=len(mate) - 1)] if len(mate) else mate
    chosen = np.concatenate([low, even[np.isfinite(even)], np.linspace(0, other[-1], _POINTS)])
    up = np.ceil(chosen.clip(0, _WORST) * 10**_DIGITS) / 10**_DIGITS  # so that a point has the face it stands for within it
    return sorted({round(float(t), _DIGITS) for t in (*up, *also)})
