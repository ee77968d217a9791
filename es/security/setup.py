"""Makes roles and API keys in a cluster that can hold them, and says what is left to do where it can't."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import EngineError, FacedexError, StorageError, UsageError
from es import operations
from es.client import speaking
from es.security.check import has_security
from es.security.file_realm import private
from es.security.roles import RIGHTS, Right, Role, descriptor, role_name, roles

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

KEY_DAYS = 90
_KEYS: tuple[Right, ...] = tuple(right for right in RIGHTS if right != "viewer")  # who looks through Kibana logs in there
_API_KEY = "ELASTICSEARCH_API_KEY"
_BY_HAND = (
    "This cluster stores neither roles nor keys: append what `facedex security roles` prints to roles.yml of each node, and make users "
    "with `elasticsearch-users useradd NAME -r ROLE`."
)
_NO_KEYS = "This cluster's API keys are turned off (xpack.security.authc.api_key.enabled): make users instead, and give them these roles."


@dataclass(slots=True)
class Done:
    """What was made."""

    roles: list[str] = field(default_factory=list)
    keys: dict[str, Path] = field(default_factory=dict)  # files, by role
    kept: dict[str, Path] = field(default_factory=dict)  # files of keys that are good still
    missing: str | None = None  # what the cluster can't, and what to do instead

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape."""
        keys, kept = ({role: str(path) for role, path in files.items()} for files in (self.keys, self.kept))
        return {"roles": self.roles, "keys": keys, "kept": kept, "missing": self.missing}


class _Missing(Exception):
    """The cluster can't; the sentence says what to do instead."""


def init(
    client: Elasticsearch, collections: Sequence[str] = (), *, keys: Path | None = None, days: int = KEY_DAYS, given: Mapping[str, str]
) -> Done:
    """Makes the roles, and an API key for each. To do it twice changes nothing: keys that are good still are kept.

    Args:
        client: a connection with an administrator's rights.
        collections: for which; none for all that there are and will be.
        keys: the folder for the keys' files; without one, no keys are made.
        days: how long new keys are good.
        given: what else a key's file tells: where the cluster is.

    Raises:
        UsageError: a bad name, a folder that others can read, or a cluster without security.
        EngineError: the user may not do this (``forbidden``), or Elasticsearch is gone.
        StorageError: a file can't be written.
    """
    wanted = roles(collections)
    if not has_security(client):
        raise UsageError("This Elasticsearch has no users, so that whoever reaches it may do everything: turn on xpack.security first.")
    if keys is not None:
        _make_folder(keys)
    done = Done()
    with suppress(FacedexError):  # who may make roles need not be allowed that
        operations.create(client)  # who searches and ingests may add to it, but not make it
    try:
        for name, role in wanted.items():
            _put_role(client, name, role)
            done.roles.append(name)
        for name, right, collection in _keyed(collections) if keys is not None else ():
            assert keys is not None  # noqa: S101 - narrows the type
            file = keys / f"{name}.env"
            if _is_good(client, file):
                done.kept[name] = file
            else:
                key = _make_key(client, name, right, collection, days)
                _write(file, {**given, _API_KEY: key})
                done.keys[name] = file
    except _Missing as missing:
        done.missing = str(missing)
    return done


def _keyed(collections: Sequence[str]) -> Iterator[tuple[str, Right, str | None]]:
    for collection in collections or (None,):
        for right in _KEYS:
            yield role_name(right, collection), right, collection


def _put_role(client: Elasticsearch, name: str, role: Role) -> None:
    with speaking(), _able():
        client.security.put_role(name=name, **role)


def _make_key(client: Elasticsearch, name: str, right: Right, collection: str | None, days: int) -> str:
    # Not the user's own rights: those of the role, however many the user has.
    limited = {key: value for key, value in descriptor(right, collection).items() if key != "description"}
    with speaking(), _able():
        made = client.security.create_api_key(
            name=name, expiration=f"{days}d", role_descriptors={name: limited}, metadata={"application": "facedex", "role": name}
        )
    return str(made["encoded"])


@contextmanager
def _able() -> Iterator[None]:
    """Tells a cluster that can't hold roles or keys from a request that is wrong."""
    from elasticsearch import BadRequestError

    try:
        yield
    except BadRequestError as error:
        told = str(error.body)
        # A distribution without the module of analysers that its own index of roles and keys needs.
        if "Unknown filter type" in told:
            raise _Missing(_BY_HAND) from None
        if "api keys are not enabled" in told.lower():
            raise _Missing(_NO_KEYS) from None
        raise


def _is_good(client: Elasticsearch, file: Path) -> bool:
    """Whether there is a key already that the cluster still takes."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError.of(error, f"read {file}", "Choose another folder with --keys.") from None
    key = next((line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{_API_KEY}=")), "")
    try:
        with speaking():
            client.options(api_key=key).security.authenticate()
    except EngineError as error:
        if error.code != "unauthorized":
            raise
        return False
    return True


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_closed = folder.stat().st_mode & 0o077 == 0
    except OSError as error:
        raise StorageError.of(error, f"make the folder {folder}", "Choose another with --keys.") from None
    if not is_closed and os.name == "posix":
        raise UsageError(f"Others can look into {folder}: choose a folder of its own for --keys, or close it with `chmod 700`.")


def _write(file: Path, values: Mapping[str, str]) -> None:
    try:
        private(file, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
    except OSError as error:
        raise StorageError.of(error, f"write {file}", "Free it, or choose another folder with --keys.") from None
