"""Contents that a run has to keep in mind, on disk: there can be millions."""

from __future__ import annotations

import sqlite3


class Contents:
    """A set of contents, by SHA-256 in hexadecimal, each with a note if need be. For one thread; gone with this object."""

    def __init__(self) -> None:
        # A database without a name is a temporary file, which is written only once it is too large for its cache.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("CREATE TABLE content (sha256 BLOB PRIMARY KEY, note TEXT) WITHOUT ROWID")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("BEGIN")
        self._is_empty = True  # asked for each photo, and mostly so

    def add(self, sha256: str, note: str | None = None) -> None:
        """Keeps a content; the last note stands."""
        self._database.execute("INSERT OR REPLACE INTO content VALUES (?, ?)", (bytes.fromhex(sha256), note))
        self._is_empty = False

    def __contains__(self, sha256: str) -> bool:
        return not self._is_empty and self._row(sha256) is not None

    def note(self, sha256: str) -> str | None:
        """The note of a content, if it was kept with one."""
        row = None if self._is_empty else self._row(sha256)
        return row[0] if row else None

    def _row(self, sha256: str) -> tuple[str | None] | None:
        found: tuple[str | None] | None = self._database.execute(
            "SELECT note FROM content WHERE sha256 = ?", (bytes.fromhex(sha256),)
        ).fetchone()
        return found
