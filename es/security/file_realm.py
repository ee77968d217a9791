"""Users of Elasticsearch's file realm: for the administrator of a cluster of ours, who must be there before the cluster is.

Three files in a node's configuration: ``users`` (name and hash of the password), ``users_roles`` (role and its users), ``roles.yml``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

_ROUNDS = 10_000  # Elasticsearch's own number for PBKDF2; a password of ours is random, so that more would protect nothing
_SALT_BYTES = _HASH_BYTES = 32
_PASSWORD_BYTES = 24  # 192 bits

FILES = ("users", "users_roles", "roles.yml")


@dataclass(frozen=True)
class User:
    """A user of the file realm."""

    name: str
    password: str
    roles: tuple[str, ...]

    def __repr__(self) -> str:
        return f"User({self.name!r})"  # never the password


def new_password() -> str:
    """A random password of 192 bits, in letters, digits, - and _."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def write(folder: Path, users: list[User], roles: Mapping[str, Any] | None = None) -> None:
    """Writes the three files, readable by their owner alone.

    Args:
        folder: of a node's configuration.
        users: all of them; earlier ones are gone.
        roles: role descriptors as of the role API, by name, besides the built-in ones.
    """
    names: dict[str, list[str]] = {}
    for user in users:
        for role in user.roles:
            names.setdefault(role, []).append(user.name)
    private(folder / "users", "".join(f"{user.name}:{hashed(user.password)}\n" for user in users))
    private(folder / "users_roles", "".join(f"{role}:{','.join(having)}\n" for role, having in names.items()))
    private(folder / "roles.yml", roles_yml(roles or {}))


def roles_yml(roles: Mapping[str, Any]) -> str:
    """Role descriptors as a node's ``roles.yml`` holds them.

    Elasticsearch takes every line that isn't indented for the beginning of a role, so JSON alone (which is YAML) does not do.
    """
    return "".join(f"{name}:\n{indent(json.dumps(role, indent=2), '  ')}\n" for name, role in roles.items())


def hashed(password: str) -> str:
    """The hash as Elasticsearch writes it with ``password_hashing.algorithm: pbkdf2`` (HMAC-SHA-512)."""
    salt = os.urandom(_SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS, _HASH_BYTES)
    return f"{{PBKDF2}}{_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def private(path: Path, text: str) -> None:
    """Replaces a file by one that only its owner can read."""
    part = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # a machine that loses its power leaves the old one or this one, never an empty one
    part.replace(path)
