"""``DeepFace.find`` on a collection: its arguments, as far as a collection can honour them, and its tables."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from core.addresses import scheme, shown
from core.errors import UsageError
from photos.archives import absolute
from query import knn

if TYPE_CHECKING:
    import pandas as pd
    from elasticsearch import Elasticsearch

    from faces.face import Face
    from faces.recipe import Recipe
    from query.filters import Clause
    from query.knn import Hit
    from query.search import Noted


class FindOptions(TypedDict, total=False):
    """The arguments of ``DeepFace.find`` behind its first three, with its defaults unless a comment names another."""

    distance_metric: str  # the collection's: cosine
    enforce_detection: bool
    detector_backend: str  # the collection's
    align: bool  # True, as always
    similarity_search: bool
    k: int | None
    expand_percentage: int  # 0, as always
    threshold: float | None  # the collection's
    normalization: str  # "base", as always
    silent: bool  # nothing is printed anyway
    refresh_database: bool
    anti_spoofing: bool
    datastore_format: str  # of no meaning: the faces are in Elasticsearch
    return_type: str | None  # "pandas", as always


# The columns of DeepFace's tables, in its order.
INTEGERS = ("target_x", "target_y", "target_w", "target_h")
_SOURCE = (*knn.SOURCE, "image.sha256")
_FIRST = 100  # faces that are asked for where their number is not known


def check(options: FindOptions, recipe: Recipe) -> None:
    """Refuses what a collection can't honour: its recipe says how faces are cut out, embedded and compared.

    Raises:
        UsageError: one of the arguments is not the collection's (code ``not_honoured``).
    """
    fixed = {"distance_metric": recipe.metric, "align": True, "expand_percentage": 0, "normalization": "base", "return_type": "pandas"}
    for name, only in fixed.items():
        if options.get(name) not in (None, only):
            raise UsageError(
                f"{name}={options.get(name)!r} can't be honoured: the collection's recipe has {only!r}, so leave it out."
                if name != "return_type"
                else "return_type can't be honoured: take [table.to_dict('records') for table in find(...)].",
                code="not_honoured",
            )
    k = options.get("k")
    if k is not None and k < 1:
        raise UsageError("k has to be 1 or more.")


def below(folder: str) -> tuple[list[Clause], dict[str, str]]:
    """What photos below a folder have to meet, and how their stored addresses are called as seen from it: as DeepFace calls them."""
    inside = os.path.join(shown(folder) if scheme(folder) else absolute("", folder), "")  # noqa: PTH118
    return [{"prefix": {"image.path": inside}}], {inside: os.path.join(folder, "")}  # noqa: PTH118


def tables(
    client: Elasticsearch,
    name: str,
    recipe: Recipe,
    faces: Sequence[Face],
    threshold: float,
    options: FindOptions,
    *,
    depth: knn.Depth | None = knn.Depth(),  # noqa: B008 - it can't be changed
    filters: Sequence[Clause] = (),
    renamed: Mapping[str, str] | None = None,
    noted: Noted | None = None,
) -> list[pd.DataFrame]:
    """A table for each face, the nearest first: all stored faces within the threshold, at most :data:`query.knn.MOST_FACES`.

    Args:
        client: the connection.
        name: the collection.
        recipe: its recipe.
        faces: of the photo.
        threshold: what applies where the options name none.
        options: ``similarity_search``, ``k`` and ``threshold`` are used.
        depth: how far the vector index looks; ``None`` compares with every face instead.
        filters: what a stored face has to meet.
        renamed: what beginnings of paths are called in the tables.
        noted: told of the photo.

    Raises:
        EngineError: Elasticsearch can't be reached or refuses.
    """
    given = options.get("threshold")
    threshold = threshold if given is None else given
    farthest = math.inf if options.get("similarity_search") else threshold
    vectors = [face.embedding for face in faces]

    def nearest(wanted: int) -> Sequence[Sequence[Hit]]:
        if depth is not None:
            return knn.nearest(client, name, vectors, wanted, depth=depth, filters=filters, source=_SOURCE)
        import numpy as np

        from query.exact import exact

        return exact(client, name, np.stack(vectors), wanted, filters=filters, source=_SOURCE)

    if depth is not None and not options.get("k"):  # all that are near enough, in whatever cell they are
        depth = depth._replace(share=1.0)
    begun = time.perf_counter()
    found = _within(nearest, options.get("k"), farthest)
    seconds = time.perf_counter() - begun
    rows = [[_row(hit, renamed or {}) for hit in hits if _distance(hit) <= farthest] for hits in found]
    if noted is not None:
        near = [_distance(hit) <= threshold for hits in found for hit in hits if _distance(hit) <= farthest]
        noted.add(faces=len(faces), results=len(near), verified=sum(near), seconds=seconds, error=None)
    return [_table(face.box, rows_, threshold, recipe) for face, rows_ in zip(faces, rows, strict=True)]


def nobody(threshold: float, recipe: Recipe) -> pd.DataFrame:
    """A table without rows: for a photo without a face, which DeepFace would take for one face."""
    return _table((0, 0, 0, 0), [], threshold, recipe)


def _within(nearest: Callable[[int], Sequence[Sequence[Hit]]], k: int | None, farthest: float) -> Sequence[Sequence[Hit]]:
    """The k nearest; without k all that are near enough: more are asked for until one of them is not."""
    wanted = min(k or _FIRST, knn.MOST_FACES)
    while True:
        found = nearest(wanted)
        if k or wanted == knn.MOST_FACES or all(len(hits) < wanted or _distance(hits[-1]) > farthest for hits in found):
            return found
        wanted = min(10 * wanted, knn.MOST_FACES)


def _distance(hit: Hit) -> float:
    return max(0.0, 2 - 2 * float(hit["_score"]))  # the server's score of a cosine is (1 + cos) / 2


def _row(hit: Hit, renamed: Mapping[str, str]) -> tuple[Any, ...]:
    image, box = hit["_source"]["image"], hit["_source"]["face"]["box"]
    identity = str(image["path"])
    for before, now in renamed.items():
        if identity.startswith(before):
            identity = now + identity[len(before) :]
    return identity, image["sha256"], *(int(box[side]) for side in "xywh"), _distance(hit)


def _table(box: tuple[int, int, int, int], rows: list[tuple[Any, ...]], threshold: float, recipe: Recipe) -> pd.DataFrame:
    import numpy as np
    import pandas as pd
    from deepface.modules.verification import find_confidence

    columns = list(zip(*rows, strict=True)) or [()] * 7
    distances = columns[6]
    confidences = [find_confidence(distance, recipe.model, distance <= threshold, recipe.metric) for distance in distances]
    table: dict[str, Any] = {name: pd.Series(column, dtype=str) for name, column in zip(("identity", "hash"), columns, strict=False)}
    table |= {name: np.array(column, np.int64) for name, column in zip(INTEGERS, columns[2:], strict=False)}
    table["threshold"] = np.full(len(rows), threshold, np.float64)
    table |= {f"source_{side}": np.full(len(rows), value, np.int64) for side, value in zip("xywh", box, strict=True)}
    return pd.DataFrame(table | {"distance": np.array(distances, np.float64), "confidence": np.array(confidences, np.float64)})
