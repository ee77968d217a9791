"""The recipe of a collection: everything that must be equal for two embeddings to be comparable."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Final, Self

from core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_JUDGING: Final = ("threshold", "search_threshold")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What makes vectors comparable; pinned in a collection.

    A threshold is the distance up to which two faces count as one person. It judges vectors but does not make them, so
    recipes that differ in nothing else are the same.
    """

    model: str  # as DeepFace names it
    detector: str  # as DeepFace names it
    alignment: str  # how a face is turned and cut before the model sees it
    dims: int
    metric: str
    threshold: float  # for one photo against one other
    search_threshold: float  # for one against many, where a stranger has as many chances as there are faces: stricter
    weights_sha256: str  # of the weight files' contents, in the order of their names

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON; from_dict reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, object]) -> Self:
        """The recipe that as_dict wrote; unknown keys are ignored.

        Raises:
            ModelError: a value is missing or of the wrong type (code "recipe").
        """
        try:
            return cls(
                **{name: _text(d[name]) for name in ("model", "detector", "alignment", "metric", "weights_sha256")},
                dims=int(_number(d["dims"])),
                threshold=float(_number(d["threshold"])),
                search_threshold=float(_number(d["search_threshold"])),
            )
        except (KeyError, TypeError) as error:
            raise ModelError(f"The recipe can't be read: {error} is missing or of another type.", code="recipe") from None

    def difference(self, other: Recipe) -> str | None:
        """What this recipe has instead of the other's, as one clause: "model Facenet512 instead of Dlib". None: the same.

        A model that differs says it all: its dims and weights are left out.
        """
        names = [
            field.name for field in fields(self) if field.name not in _JUDGING and getattr(self, field.name) != getattr(other, field.name)
        ]
        if "model" in names:
            names = [name for name in names if name in {"model", "detector"}]
        clauses = [_clause(name, getattr(self, name), getattr(other, name)) for name in names]
        return " and ".join(clauses) or None


DEFAULT: Final = Recipe(
    model="Dlib",
    detector="dlib",
    alignment="dlib 5 points",  # get_face_chip, 150 pixels, padding 0.25
    dims=128,
    metric="cosine",
    # As near are 1 % of 4.5 million LFW pairs of different people (the nearest 0.01 %: 0.061). It is the best for verification too, and
    # about what dlib's own 0.6 in euclidean distance comes to. deepface/config/threshold.py says 0.07, which takes one LFW pair
    # in ten of the same person for two people.
    threshold=0.093,
    search_threshold=0.07,  # deepface/config/threshold.py; still lax for large galleries, which need one of their own
    weights_sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",  # the network's .dat file
)
DEEPFACE_ALIGNMENT: Final = "deepface eyes"  # deepface.modules.detection: turned until the eyes are level, cut at the box


def resolve(model: str = "Dlib", detector: str = "dlib") -> Recipe:
    """The recipe of a model and a detector by DeepFace's names, whatever their case.

    The default is made of constants. Any other pair is loaded, to learn its dimensions and hash its weights.

    Raises:
        ModelError: no such model or detector ("unknown_model", "unknown_detector"), its weights are not there
            ("weights_missing") or a package of its own is not ("package_missing"); each one sentence with the remedy.
    """
    if is_default(model, detector):
        return DEFAULT
    model, detector = spelled(model, detector)
    from faces import deepface_models

    return Recipe(
        model=model,
        detector=detector,
        alignment=DEEPFACE_ALIGNMENT,
        dims=deepface_models.dims(model),
        metric="cosine",
        threshold=deepface_models.threshold(model),
        search_threshold=deepface_models.threshold(model),
        weights_sha256=deepface_models.weights_sha256(model, detector),
    )


def spelled(model: str, detector: str) -> tuple[str, str]:
    """The names of a model and a detector as DeepFace spells them; loads neither.

    Raises:
        ModelError: no such model or detector ("unknown_model", "unknown_detector").
    """
    if is_default(model, detector):
        return DEFAULT.model, DEFAULT.detector
    from faces import deepface_models

    model = _known(model, deepface_models.names("facial_recognition"), "model")
    return model, _known(detector, deepface_models.names("face_detector"), "detector")


def is_default(model: str, detector: str) -> bool:
    """Whether these names mean the default recipe, which runs without DeepFace's own image handling."""
    return (model.lower(), detector.lower()) == (DEFAULT.model.lower(), DEFAULT.detector.lower())


def _known(name: str, names: Iterable[str], kind: str) -> str:
    by_case = {known.lower(): known for known in names}
    if name.lower() not in by_case:
        listed = ", ".join(sorted(by_case.values(), key=str.lower))
        raise ModelError(f"There is no {kind} {name!r}: choose one of {listed}.", code=f"unknown_{kind}")
    return by_case[name.lower()]


def _clause(name: str, mine: object, theirs: object) -> str:
    if name == "weights_sha256":
        return f"weights with SHA-256 {str(mine)[:12]}... instead of {str(theirs)[:12]}..."
    return f"{name} {mine} instead of {theirs}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(repr(value))
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(repr(value))
    return value
