"""What the peers need to run here."""

from __future__ import annotations

import os
from pathlib import Path


def deepface_home(folder: Path) -> Path:
    """Makes a DEEPFACE_HOME in which DeepFace finds the weights of its "Dlib" model and detector: those that the package ships."""
    from faces.dlib_model import PINNED, weight_file

    weights = folder / ".deepface" / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    for name in PINNED:
        link = weights / f"{name}.{os.getpid()}"  # workers start at the same moment
        link.symlink_to(weight_file(name))
        link.replace(weights / name)
    return folder
