"""Can this machine look at faces: its Python, its runtime, its weights?"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version

from core.errors import FacedexError
from core.findings import Finding


def examine() -> list[Finding]:
    """What is to be said of it."""
    return [*runtime(), *weights()]


def runtime() -> Iterator[Finding]:
    """The versions that a report of a bug should name."""
    names = ("facedex", "onnxruntime", "deepface", "numpy")
    yield Finding("python", "ok", ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)]) + ".")


def weights() -> Iterator[Finding]:
    """The weights of the default recipe beside their checksums."""
    from faces import dlib_model

    damaged = False
    for name in dlib_model.PINNED:
        try:
            dlib_model.read_pinned(name)
        except FacedexError as error:
            damaged = True
            yield Finding("weights", "error", str(error), "Neither ingests nor searches of the default recipe work.")
    if not damaged:
        yield Finding("weights", "ok", "The weights of the default recipe are whole.")
