"""Contents that a run has to keep in mind, on disk: there can be millions."""

from __future__ import annotations

import sqlite3


class Contents:
    """A set of contents, by SHA-256 in hexadecimal. For one thread at a time; gone with this object."""

    def __init__(self) -> None:
        # A database without a name is a temporary file, which is written only once it is too large for its cache.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE content (sha256 BLOB PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")
        self._is_empty = True  # asked for each photo, and mostly so

    def add(self, sha256: str) -> None:
        """Keeps a content."""
        self._database.execute("INSERT OR IGNORE INTO content VALUES (?)", (bytes.fromhex(sha256),))
        self._is_empty = False

    def __contains__(self, sha256: str) -> bool:
        if self._is_empty:
            return False
        return self._database.execute("SELECT 1 FROM content WHERE sha256 = ?", (bytes.fromhex(sha256),)).fetchone() is not None
