"""A face recognition model for DeepFace that embeds nothing: its photos are vectors.

A vector of 128 numbers is a photo 128 high and 1 wide, the same in its three colours; DeepFace hands it through untouched. So DeepFace's
own code can be timed on vectors that are known, without any photo.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIMS = 128
SHAPE = (DIMS, 1, 1)  # of a photo before its colours


class Prepared:
    """What DeepFace asks of a model."""

    model_name = "Dlib"
    input_shape = (1, DIMS)  # width first
    output_shape = DIMS

    def forward(self, photos: NDArray[np.float32]) -> Any:
        """The vectors of photos, (n, 128, 1, 3) of DeepFace's RGB: a list for one, a list of lists for several."""
        vectors = photos[:, :, 0, 0].tolist()
        return vectors[0] if len(vectors) == 1 else vectors


def plug_in() -> None:
    """From now on DeepFace takes this for its "Dlib"."""
    os.environ["DEEPFACE_LOG_LEVEL"] = "40"  # errors: it warns in each search
    from deepface.modules import modeling

    modeling.AVAILABLE_MODELS["facial_recognition"]["Dlib"] = {"any": f"{__name__}.Prepared"}
    getattr(modeling, "cached_models", {}).get("facial_recognition", {}).pop("Dlib", None)  # one that was built before
