"""From photos to their faces: read, hash, decode, detect, align, embed. One pure function, run in worker processes."""

from __future__ import annotations

import faulthandler
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from core.errors import FacedexError, ModelError, PhotoError
from faces.photo import decode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from faces.face import Face
    from faces.photo import Photo
    from faces.pipeline import Pipeline
    from faces.recipe import Recipe
    from photos.places import Place


TOGETHER_BYTES = 6_000_000  # of decoded photos that are looked at together; a larger one is alone


@dataclass(frozen=True, slots=True)
class Detection:
    """How faces are looked for: what decides which faces a photo yields, but not whether their vectors can be compared."""

    min_face: int = 80  # pixels
    anti_spoofing: bool = False
    min_quality: tuple[tuple[str, float], ...] = ()  # measures of faces.quality.MEASURES and the least that a face must have

    def __str__(self) -> str:
        """The form that is stored with each face, so that a photo is done again only when this changes."""
        gate = "".join(f",{measure}>={least:g}" for measure, least in self.min_quality)
        return f"min_face={self.min_face}" + (",anti_spoofing" if self.anti_spoofing else "") + gate


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a photo was left out: a stable code and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one photo: faces or a reject. ``sha256`` is ``None`` only where the file couldn't be read."""

    sha256: str | None = None
    width: int = 0
    height: int = 0
    faces: tuple[Face, ...] = ()
    reject: Reject | None = None
    below_quality: int = 0  # faces left out beside those that were kept
    seconds: dict[str, float] = field(default_factory=dict)  # by stage


@dataclass(slots=True)
class _Opened:
    """What is known of a photo so far."""

    sha256: str | None = None
    picture: Photo | None = None
    reject: Reject | None = None
    below_quality: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Of its pixels."""
        return self.picture.pixels.nbytes if self.picture else 0

    def outcome(self, faces: Sequence[Face] = ()) -> Outcome:
        """All that will be known."""
        if self.reject is not None or self.picture is None:
            return Outcome(self.sha256, reject=self.reject, seconds=self.seconds)
        width, height = self.picture.width, self.picture.height
        return Outcome(self.sha256, width, height, tuple(faces), below_quality=self.below_quality, seconds=self.seconds)


class Represent:
    """The function of photos. Holds the models, so each process makes one (see :func:`start`)."""

    def __init__(self, recipe: Recipe, detection: Detection, max_pixels: int, *, thumbnails: bool = False) -> None:
        from faces.pipeline import Pipeline

        self._pipeline: Pipeline = Pipeline(recipe, min_face=detection.min_face, anti_spoofing=detection.anti_spoofing)
        self._min_quality = detection.min_quality
        self._max_pixels = max_pixels
        self._thumbnails = thumbnails

    def __call__(self, photos: Sequence[Place]) -> list[Outcome]:
        """Faces or a reject of each, never an exception on account of a photo. Small photos are looked at together.

        Raises:
            FacedexError: what would fail for every photo, such as missing weights.
        """
        outcomes: list[Outcome] = []
        waiting: list[_Opened] = []
        for photo in photos:
            opened = self._open(photo)
            if waiting and sum(one.bytes for one in (*waiting, opened)) > TOGETHER_BYTES:
                outcomes += self._look(waiting)
                waiting = []
            waiting.append(opened)
        return outcomes + self._look(waiting)

    def _open(self, photo: Place) -> _Opened:
        opened = _Opened()
        with _rejected(opened):
            with _timed(opened.seconds, "read"):
                data = photo.read()
                opened.sha256 = hashlib.sha256(data).hexdigest()
            with _timed(opened.seconds, "decode"):
                opened.picture = decode(data, max_pixels=self._max_pixels)
        return opened

    def _look(self, opened: list[_Opened]) -> list[Outcome]:
        pictures = [one.picture.pixels for one in opened if one.picture]
        begun = time.perf_counter()
        found = iter(self._find(pictures))
        each = (time.perf_counter() - begun) / max(1, len(pictures))
        return [self._outcome(one, next(found), each) if one.picture else one.outcome() for one in opened]

    def _find(self, pictures: list[NDArray[np.uint8]]) -> list[list[Face] | PhotoError]:
        try:
            return self._pipeline.find_all(pictures)
        except FacedexError:
            raise
        except Exception as error:  # noqa: BLE001 - a model that stumbles over one photo must not stop a run of millions
            if len(pictures) == 1:
                return [_failed(error)]
            return [found for picture in pictures for found in self._find([picture])]

    def _outcome(self, opened: _Opened, found: list[Face] | PhotoError, seconds: float) -> Outcome:
        assert opened.picture is not None  # noqa: S101
        opened.seconds["faces"] = seconds
        faces: list[Face] = []
        with _rejected(opened), _timed(opened.seconds, "quality"):
            if isinstance(found, PhotoError):
                raise found
            faces = self._good_ones(opened.picture.pixels, found)
            if not all(is_usable(face) for face in faces):
                raise PhotoError("The model gave a vector without a direction for this photo.", code="failed")
            opened.below_quality = len(found) - len(faces)
        return opened.outcome(faces)

    def _good_ones(self, pixels: NDArray[np.uint8], found: list[Face]) -> list[Face]:
        """The faces that have the quality asked for, each with its measures.

        Raises:
            PhotoError: none has (code ``low_quality``); the sentence says what the largest one lacks.
        """
        from faces.quality import measure, thumbnail

        measured = [replace(face, quality=measure(pixels, face)) for face in found]
        good = [face for face in measured if not self._lacks(face)]
        if not good:
            raise PhotoError(f"No face is good enough: the largest has {self._lacks(measured[0])}.", code="low_quality")
        return [replace(face, thumbnail=thumbnail(pixels, face)) for face in good] if self._thumbnails else good

    def _lacks(self, face: Face) -> str:
        return " and ".join(
            f"{name} {getattr(face.quality, name):.3g}, below {least:g}"
            for name, least in self._min_quality
            if getattr(face.quality, name) < least
        )


def is_usable(face: Face) -> bool:
    """Whether a face's vector can be stored: all numbers finite, and not all zero, which has no cosine."""
    return 0.0 < float(face.embedding @ face.embedding) < float("inf")


def _failed(error: Exception) -> PhotoError:
    return PhotoError(f"The model failed on this photo ({type(error).__name__}).", code="failed")


@contextmanager
def _rejected(opened: _Opened) -> Iterator[None]:
    """What goes wrong within becomes the photo's reject, unless every photo would meet it."""
    try:
        yield
    except PhotoError as error:
        opened.reject = Reject(error.code, str(error))
    except FacedexError:
        raise
    except Exception as error:  # noqa: BLE001 - as in Represent._find
        failed = _failed(error)
        opened.reject = Reject(failed.code, str(failed))


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    begun = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = time.perf_counter() - begun


Ready = Represent | FacedexError  # the function of a photo, or what is wrong with every photo
_represent: Ready | None = None


def start(recipe: Recipe, detection: Detection, max_pixels: int, thumbnails: bool = False) -> Ready:
    """Prepares a worker process. What goes wrong is kept for :func:`represent` to raise: a failing start would break the pool."""
    ready: Ready
    try:
        ready = Represent(recipe, detection, max_pixels, thumbnails=thumbnails)
    except FacedexError as error:
        ready = error
    except Exception as error:  # noqa: BLE001 - a library's own; its words could tell paths only, but they are many
        ready = ModelError(f"The models can't be prepared ({type(error).__name__}).")
    resume(ready)
    return ready


def resume(ready: Ready) -> None:
    """Goes on with what :func:`start` prepared, where a process prepares several."""
    global _represent  # noqa: PLW0603 - one at a time
    _represent = ready


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Ends this process when what is done within takes too long: nothing less stops a native decoder."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def represent(photos: Sequence[Place]) -> list[Outcome]:
    """What a prepared worker process does with some photos."""
    assert _represent is not None, "start() comes first"  # noqa: S101
    if isinstance(_represent, FacedexError):
        raise _represent
    return _represent(photos)
