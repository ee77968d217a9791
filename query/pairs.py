"""Pairs of photos from a CSV file, each judged as ``facedex verify`` does: in order, every photo looked at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.addresses import shown
from core.errors import UsageError
from photos import lists
from photos.lists import BadLine
from photos.sources import Source, place_of
from query.targets import Target, looked_at
from query.verify import Verdict, verify

if TYPE_CHECKING:
    from core.web import Limits
    from faces.face import Face
    from faces.recipe import Recipe

HEAD = ("line", "a", "b", "same", "verified", "distance", "error")
_VERDICT = ("verified", "distance", "threshold", "metric", "model", "boxes")
_SAME = dict.fromkeys(("1", "true", "yes"), True) | dict.fromkeys(("0", "false", "no"), False)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photos by their addresses, and where known whether they show one person. Or what is wrong with the line."""

    line: int
    a: str = ""
    b: str = ""
    same: bool | None = None
    wrong: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a pair: a verdict, or a code and a sentence about the photo or the line that can't be used."""

    pair: Pair
    verdict: Verdict | None = None
    error: tuple[str, str] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape of a line of ``facedex verify --pairs FILE --json``."""
        verdict = self.verdict.as_dict() if self.verdict else dict.fromkeys(_VERDICT)
        error = None if self.error is None else {"code": self.error[0], "message": self.error[1]}
        photos = {"a": shown(self.pair.a), "b": shown(self.pair.b)}
        return {"line": self.pair.line, **photos, "same": self.pair.same, **verdict, "error": error}

    def as_row(self) -> tuple[object, ...]:
        """The cells of :data:`HEAD`."""
        same = "" if self.pair.same is None else int(self.pair.same)
        verdict = (int(self.verdict.verified), round(self.verdict.distance, 6)) if self.verdict else ("", "")
        return self.pair.line, shown(self.pair.a), shown(self.pair.b), same, *verdict, self.error[0] if self.error else ""


def read(path: Path) -> list[Pair]:
    """The pairs of a CSV file: columns ``a`` and ``b``, paths relative to the file or addresses, and perhaps ``same`` (1, true, yes ...).

    Raises:
        UsageError: it can't be read, or has other columns (``no_such_list``, ``no_pairs``).
    """
    if not path.is_file():  # a named pipe would be waited for
        raise UsageError(f"There is no list of pairs {str(path)!r}.", code="no_such_list")
    pairs = list(lists.read(path, _columns, lambda cells, line: _pair(path, cells, line), lambda line, why: Pair(line, wrong=why)))
    if not pairs:
        raise _no_pairs(path, "it holds none.")
    return pairs


def _columns(path: Path, names: list[str]) -> list[str]:
    if any(names.count(name) != 1 for name in ("a", "b")) or names.count("same") > 1:
        raise _no_pairs(path, "its first line has to name the columns a and b, and perhaps same, once each.")
    return names


def _no_pairs(path: Path, why: str) -> UsageError:
    return UsageError(f"{str(path)!r} is no list of pairs: {why}", code="no_pairs")


def _pair(path: Path, cells: lists.Cells, line: int) -> Pair | None:
    if not cells.keys() & {"a", "b", "same"}:
        return None
    if not cells.keys() >= {"a", "b"}:
        raise BadLine("It does not name two photos.")
    same = cells.get("same", "").strip().lower()
    if same and same not in _SAME:
        raise BadLine("Its column same is neither 1 nor 0, true nor false, yes nor no.")
    return Pair(line, lists.address(path, cells["a"]), lists.address(path, cells["b"]), _SAME.get(same))


def judged(pairs: Sequence[Pair], recipe: Recipe, limits: Limits, *, min_face: int = 80, workers: int | None = None) -> Generator[Judged]:
    """The pairs with their verdicts, in order, as soon as their photos are looked at. A photo that can't be used costs its own pairs.

    Args:
        pairs: see :func:`read`.
        recipe: how vectors are made and judged.
        limits: of photos that are brought from elsewhere.
        min_face: width in pixels from which faces are looked for.
        workers: processes, where there are many photos; by default one a core.

    Raises:
        FacedexError: what would fail for every photo.
    """
    awaited = Counter(photo for pair in pairs if pair.wrong is None for photo in {pair.a, pair.b})
    seen: dict[str, Target] = {}
    with closing(looked_at(_sources(awaited, limits), recipe, min_face=min_face, workers=workers)) as targets:
        coming = zip(awaited, targets, strict=True)
        for pair in pairs:
            if pair.wrong is not None:
                yield Judged(pair, error=("unreadable", pair.wrong))
                continue
            # Photos come in the order in which pairs name them first: what is missing comes next.
            while not seen.keys() >= {pair.a, pair.b}:
                photo, target = next(coming)
                seen[photo] = target
            yield _judge(recipe, pair, seen[pair.a], seen[pair.b])
            for photo in {pair.a, pair.b}:
                awaited[photo] -= 1
                if not awaited[photo]:
                    del seen[photo]  # no other pair needs it


def _sources(photos: Iterable[str], limits: Limits) -> Iterator[Source]:
    return (Source(shown(photo), kept_in=place_of(photo, limits)) for photo in photos)


def _judge(recipe: Recipe, pair: Pair, a: Target, b: Target) -> Judged:
    for target in (a, b):
        if target.error is not None:
            code, message = target.error
            return Judged(pair, error=(code, f"{target.name}: {message}"))
    faces: tuple[list[Face], list[Face]] = list(a.faces), list(b.faces)
    return Judged(pair, verify(recipe, *faces))
