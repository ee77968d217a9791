"""Every error that Facedex raises on purpose.

FacedexError                    the command can't be done: exit code 2
├── UsageError                  what was typed is wrong (a folder that is not there, an unknown model)
├── ModelError                  a model or its weights can't be used
│   └── RecipeMismatch          vectors of two recipes would be compared
├── EngineError                 Elasticsearch can't be started, reached or written to
├── CollectionError             no such collection, or one that exists already
├── StorageError                a folder or file of ours can't be read or written
└── PhotoError                  one photo can't be used: it becomes a reject, nothing else is lost

Each carries a ``code`` (a stable word for programs) and a message (one sentence that says what to do). Messages never hold
vectors or pixels.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any, Self


class FacedexError(Exception):
    """Base of all errors raised on purpose. ``code`` is stable; ``str(error)`` is one sentence for a person."""

    code = "error"
    details: Mapping[str, Any] = {}  # what else a program may want to know, beside the error in JSON

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (ingest workers); the keyword would be lost by the default.
        return (_rebuild, (type(self), str(self), self.code))


def _rebuild(kind: type[FacedexError], message: str, code: str) -> FacedexError:
    return kind(message, code=code)


class UsageError(FacedexError):
    code = "usage"


class ModelError(FacedexError):
    code = "model"


class RecipeMismatch(ModelError):
    code = "recipe_mismatch"


class EngineError(FacedexError):
    code = "engine"


class CollectionError(FacedexError):
    code = "collection"


class StorageError(FacedexError):
    code = "storage"

    @classmethod
    def of(cls, error: OSError, doing: str, remedy: str) -> Self:
        """The sentence for an OSError: what was being done, why it failed, what to do about it."""
        why = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the disk quota is used up",
            errno.EROFS: "the file system is read-only",
            errno.EACCES: "permission is denied",
            errno.EPERM: "permission is denied",
        }.get(error.errno or 0, (error.strerror or str(error)).lower())
        code = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "storage"
        return cls(f"Can't {doing}: {why}; {remedy[:1].lower()}{remedy[1:]}", code=code)


class PhotoError(FacedexError):
    """One photo is left out. Codes: unreadable, forbidden, not_an_image, truncated, corrupt, too_large, no_face, spoof, timeout, ..."""

    code = "unreadable"


_GIVE = {
    "int_parsing": "give a whole number",
    "int_from_float": "give a whole number",
    "float_parsing": "give a number",
    "bool_parsing": "give true or false",
    "greater_than": "give more than {gt:,}",
    "greater_than_equal": "give {ge:,} or more",
    "less_than": "give less than {lt:,}",
    "less_than_equal": "give {le:,} or less",
}


def remedy(error: BaseException | None) -> str | None:
    """What to give instead of what pydantic refused, as the end of a sentence; None where it was not pydantic that did."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return None
    first = error.errors(include_url=False)[0]
    if first["type"] in _GIVE:
        return _GIVE[first["type"]].format_map(first.get("ctx", {}))
    return first["msg"].removeprefix("Value error, ").rstrip(".")
