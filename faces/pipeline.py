"""Pixels to faces: detect, align, embed, with the models of one recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from core.errors import PhotoError, RecipeMismatch, UsageError
from faces import huge_pages
from faces.face import Face, by_size, distance, none_found
from faces.recipe import Recipe, is_default, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Check = Callable[[NDArray[np.uint8], tuple[int, int, int, int]], bool]

MANY_PHOTOS = 50  # after which a process is taken for one that will see many more

__all__ = ["Pipeline", "distance", "prepare"]


class _Finder(Protocol):
    """One way from pixels to faces: those of each photo, or why there are none."""

    def find_all(self, photos: Sequence[NDArray[np.uint8]]) -> list[list[Face] | PhotoError]: ...


class Pipeline:
    """Finds and embeds the faces of photos. One thread at a time: the detectors are not safe beyond that; use processes."""

    def __init__(self, recipe: Recipe, *, min_face: int = 80, anti_spoofing: bool = False) -> None:
        """Load the recipe's models.

        Args:
            recipe: what :func:`faces.recipe.resolve` gave, here or when the collection was made.
            min_face: faces of this many pixels and more are looked for. Half of it costs four times the time. Detectors other
                than dlib have a size of their own and ignore it.
            anti_spoofing: leave out faces that DeepFace's Fasnet takes for a photo of a photo.

        Raises:
            ModelError: weights or packages are missing; RecipeMismatch: those installed are not the recipe's.
            UsageError: min_face is not a size.
        """
        if min_face < 1:
            raise UsageError(f"A face of {min_face} pixels can't be looked for: give min_face as 1 or more, usually 40 to 200.")
        if clause := resolve(recipe.model, recipe.detector).difference(recipe):
            raise RecipeMismatch(f"The models installed here have {clause}: install those that the vectors were made with.")
        self.recipe = recipe
        self._finder: _Finder
        if is_default(recipe.model, recipe.detector):
            self._finder = _Dlib(min_face, anti_spoofing=anti_spoofing)
        else:
            from faces.deepface_models import DeepFaceFinder

            self._finder = DeepFaceFinder(recipe.model, recipe.detector, anti_spoofing=anti_spoofing)

    def find(self, pixels: NDArray[np.uint8]) -> list[Face]:
        """The faces of one photo, the largest first.

        Args:
            pixels: (h, w, 3) uint8 RGB of the upright photo.

        Raises:
            PhotoError: no face was found (code "no_face"), or anti-spoofing refused all that were (code "spoof").
        """
        [found] = self.find_all([pixels])
        if isinstance(found, PhotoError):
            raise found
        return found

    def find_all(self, photos: Sequence[NDArray[np.uint8]]) -> list[list[Face] | PhotoError]:
        """The faces of each of several photos, or the error that :meth:`find` would raise. What is found does not depend on the company.

        With the default recipe eight small photos at once take an eighth less than one by one.
        """
        found = self._finder.find_all([np.ascontiguousarray(pixels) for pixels in photos])
        return [each if isinstance(each, PhotoError) else by_size(each) for each in found]


class _Dlib:
    """The default recipe: dlib's detector and landmarks, our class for DeepFace's model "Dlib", one run for all faces."""

    def __init__(self, min_face: int, *, anti_spoofing: bool) -> None:
        from faces import dlib_detector, dlib_model

        self._detector = dlib_detector.DlibDetector(min_face)
        self._model = dlib_model.load()
        self._is_real = _spoof_check() if anti_spoofing else None
        self._looks = 0

    def find_all(self, photos: Sequence[NDArray[np.uint8]]) -> list[list[Face] | PhotoError]:
        before, self._looks = self._looks, self._looks + len(photos)
        if before < MANY_PHOTOS <= self._looks:
            huge_pages.gather()
        found = self._detector.find_all(photos)
        real = [
            [face for face in faces if self._is_real is None or self._is_real(pixels, face.box)]
            for pixels, faces in zip(photos, found, strict=True)
        ]
        chips = [face.chip for faces in real for face in faces]
        embeddings = iter(self._model.embed(np.stack(chips)) if chips else ())
        return [
            [Face(face.box, face.landmarks, face.confidence, next(embeddings), eyes=face.eyes, nose=face.nose) for face in faces]
            or none_found(len(all_found))
            for faces, all_found in zip(real, found, strict=True)
        ]


def _spoof_check() -> Check:
    from faces.deepface_models import is_real, load

    load("spoofing", "Fasnet")  # missing weights are told now, not at the first photo
    return is_real


def prepare(recipe: Recipe, *, anti_spoofing: bool = False) -> None:
    """Make what the recipe's models need in the cache, so that worker processes find it there, and miss nothing.

    Raises:
        ModelError: weights or packages are missing.
    """
    if is_default(recipe.model, recipe.detector):
        from faces import dlib_detector

        dlib_detector.load_detector()
    if recipe.model.lower() == "dlib":
        from faces import dlib_model

        dlib_model.converted_network()
    if anti_spoofing:
        _spoof_check()
