"""The photos of who is looked for: one, or a folder, an archive or a list of them, each looked at by a worker, in order."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.addresses import shown
from core.errors import UsageError
from core.files import MAX_BYTES
from core.settings import settings
from photos import sources
from photos.places import Given, Nowhere
from photos.sources import PersonFrom, Source
from workers.executors import SECONDS_PER_PHOTO, cores, embedder
from workers.flow import flow
from workers.worker import Detection

if TYPE_CHECKING:
    from core.web import Limits
    from faces.face import Face
    from faces.recipe import Recipe
    from photos.places import Place
    from workers.executors import Embedder

STDIN = "-"
_FEW = 8  # targets that one process looks at sooner than others are started


@dataclass(frozen=True, slots=True)
class Target:
    """One photo of who is looked for: as it was named, where it is, and its faces or what is wrong with it (a code and a sentence).

    ``agreement`` is 1, but for several photos in one: the length of the mean of their vectors, each of length 1. The cosine with that
    mean, times its length, is the mean of their cosines, which can be judged as that of one photo. The mean's own is nearer to everybody.
    """

    name: str
    place: Place
    faces: tuple[Face, ...] = ()
    error: tuple[str, str] | None = None
    agreement: float = 1.0


def check(given: Sequence[str], limits: Limits) -> None:
    """Refuses what can't be meant, before anything is started: a source that is no source, or nothing but photos that are not there.

    Raises:
        UsageError: see :func:`photos.sources.check`; ``no_such_photo`` for photos.
    """
    if given.count(STDIN) > 1:
        raise UsageError("Only one photo can come on stdin.")
    missing = [each for each in given if each != STDIN and "://" not in each and not sources.is_there(each)]
    if missing and len(missing) == len(given):
        raise UsageError(f"There is no photo {missing[0]!r}.", code="no_such_photo")
    for each in given:
        if each != STDIN and each not in missing:
            sources.check([each], _kind(each), limits)


def named(given: Iterable[str], limits: Limits) -> Iterator[Source]:
    """The photos that are meant, in order, lazily: files and addresses as they are named, all photos of folders, archives and CSV lists.

    Raises:
        UsageError: a name that is no source.
    """
    for each in given:
        if each == STDIN:
            yield Source(STDIN, kept_in=_stdin())
        elif "://" not in each and not sources.is_there(each):
            yield Source(each, kept_in=Nowhere("There is no such photo."))
        elif os.path.isfile(each) and not sources.is_many(each):  # noqa: PTH113
            yield Source(each)
        else:
            yield from sources.photos([each], _kind(each), limits)


def listed(lines: Iterable[str], limits: Limits) -> Iterator[Source]:
    """The photos that a list names, one a line, as :func:`named` takes them; empty lines are left out. A bad line harms no other.

    Raises:
        UsageError: there is no name in the list (``no_photos``).
    """
    is_empty = True
    for name in (name for line in lines if (name := line.rstrip("\r\n"))):
        is_empty, nothing = False, True
        try:
            for photo in named([name], limits) if name != STDIN else ():
                nothing = False
                yield photo
        except UsageError as error:
            yield Source(shown(name), kept_in=Nowhere(str(error), error.code))
        else:
            if nothing:
                yield Source(shown(name), kept_in=Nowhere("There is no photo here."))
    if is_empty:
        raise UsageError("The list names no photo.", code="no_photos")


def in_this_process(recipe: Recipe, *, min_face: int = 80, anti_spoofing: bool = False) -> Embedder:
    """The models of a recipe in this process, to be kept where many times a few photos are looked at: loading them costs 0.1 s.

    Raises:
        ModelError: the models can't be had.
    """
    return embedder(0, None, (recipe, Detection(min_face, anti_spoofing), settings().max_pixels, False), SECONDS_PER_PHOTO)


def looked_at(
    photos: Iterable[Source],
    recipe: Recipe,
    *,
    min_face: int = 80,
    anti_spoofing: bool = False,
    workers: int | None = None,
    here: Callable[..., Embedder] = in_this_process,
) -> Generator[Target]:
    """The photos with their faces, in the order given. Few are looked at in this process, many in worker processes.

    Args:
        photos: where they are.
        recipe: how vectors are made.
        min_face: width in pixels from which faces are looked for.
        anti_spoofing: leaves out faces that look like a picture of a picture.
        workers: processes, where there are many photos; by default one a core.
        here: gives the models of this process, called as :func:`in_this_process`.

    Raises:
        FacedexError: what would fail for every photo.
    """
    photos = iter(photos)
    first = list(itertools.islice(photos, _FEW + 1))

    def start() -> Embedder:
        if len(first) <= _FEW:
            return here(recipe, min_face=min_face, anti_spoofing=anti_spoofing)
        looks = (recipe, Detection(min_face, anti_spoofing), settings().max_pixels, False)
        return embedder(workers or cores(), None, looks, SECONDS_PER_PHOTO)

    # One by one: a list can come slowly through a pipe, and each is answered when it comes.
    with closing(flow(itertools.chain(first, photos), lambda photo: photo.place, start, one_by_one=True)) as found:
        for photo, outcome in found:
            reject = outcome.reject
            error = None if reject is None else (reject.reason, reject.message)
            yield Target(photo.path, photo.place, outcome.faces, error)


def _kind(source: str) -> PersonFrom:
    return PersonFrom.csv if sources.is_list(source) else PersonFrom.none


def _stdin() -> Place:
    if sys.stdin is None:
        return Nowhere("There is nothing on stdin.")
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        return Nowhere(f"What comes on stdin has more than {MAX_BYTES >> 20} MB.", "too_large")
    return Given(data)
