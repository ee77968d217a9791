"""What the present user may do, by Elasticsearch's own word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from es.client import allowed, speaking
from es.collections import all_of
from es.documents import alias, rejects_alias
from es.security.roles import PRIVILEGES, Right

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_JUDGED: tuple[Right, ...] = ("search", "ingest", "steward")
_NOBODY_THERE = (400, 405)  # what a server without security says of a path that it does not know
_SIZE = 500  # indices asked about at once


@dataclass(frozen=True, slots=True)
class User:
    """Who a connection is. ``kind`` says how that was proved: ``realm`` (name and password), ``api_key`` ..."""

    name: str
    roles: tuple[str, ...]
    kind: str

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape."""
        return asdict(self)


def user(client: Elasticsearch) -> User | None:
    """Who is connected; ``None`` where the cluster has no security: everybody may do everything.

    Raises:
        EngineError: the credentials are refused (``unauthorized``), or Elasticsearch is gone.
    """
    if not has_security(client):
        return None
    with speaking():
        found = client.security.authenticate()
    return User(found["username"], tuple(found["roles"]), found["authentication_type"])


def has_security(client: Elasticsearch) -> bool:
    """Whether the cluster knows users at all."""
    from elasticsearch import ApiError

    with speaking():
        try:
            client.security.authenticate()
        except ApiError as error:
            if error.status_code not in _NOBODY_THERE:
                raise
            return False
    return True


def visible(client: Elasticsearch) -> list[str]:
    """The collections that the user may know of."""
    return [found.name for found in allowed(lambda: all_of(client)) or []]


def rights(client: Elasticsearch, *names: str) -> dict[str, list[Right]]:
    """Which of ``search``, ``ingest`` and ``steward`` the user has, by collection; a collection need not be there.

    Raises:
        EngineError: the cluster has no security, the credentials are refused, or Elasticsearch is gone.
    """
    has = _privileges(client, [index for name in names for index in _indices(name)])
    return {name: [right for right in _JUDGED if all(set(PRIVILEGES[right]) <= has[index] for index in _indices(name))] for name in names}


def _indices(name: str) -> tuple[str, ...]:
    return alias(name), f"{alias(name)}-v1", rejects_alias(name), f"{rejects_alias(name)}-v1"


def _privileges(client: Elasticsearch, indices: Sequence[str]) -> dict[str, set[str]]:
    asked = sorted({privilege for right in _JUDGED for privilege in PRIVILEGES[right]})
    has: dict[str, set[str]] = {}
    for at in range(0, len(indices), _SIZE):
        with speaking():
            answer = client.security.has_privileges(index=[{"names": indices[at : at + _SIZE], "privileges": asked}])
        has |= {index: {privilege for privilege, granted in found.items() if granted} for index, found in answer["index"].items()}
    return has
