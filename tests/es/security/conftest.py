"""Two collections whose names begin alike, on the node that knows users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from elasticsearch import Elasticsearch

from es import collections
from faces.recipe import DEFAULT
from ingest.writer import Writer
from tests.faces_made import work
from tests.servers import Secured

As = Callable[[str], Elasticsearch]


@pytest.fixture(scope="session")
def as_(secured: Secured) -> Iterator[As]:
    """A connection as a user: `as_("search")`."""
    known: dict[str, Elasticsearch] = {}
    with ExitStack() as stack:
        yield lambda user: known.get(user) or known.setdefault(user, stack.enter_context(secured.client(user)))


@pytest.fixture
def staff(as_: As) -> Iterator[str]:
    """The collection ``staff`` with two faces; beside it ``staff-old`` with one."""
    admin = as_("administrator")
    for name, photos in {"staff": ("a.jpg", "b.jpg"), "staff-old": ("secret.jpg",)}.items():
        collections.create(admin, name, DEFAULT.as_dict())
        works = [work(photo, seed, person=photo[0]) for seed, photo in enumerate(photos, start=1)]
        list(Writer(admin, name, model="Dlib", run="r", detection="d").write(works))
    admin.indices.refresh(index="facedex-*")
    yield "staff"
    for found in collections.all_of(admin):
        collections.delete(admin, found)
