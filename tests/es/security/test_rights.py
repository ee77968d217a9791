"""The roles, with real users of a real cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import ApiError, AuthorizationException, BadRequestError, Elasticsearch

from core.errors import EngineError, UsageError
from es import collections, merging, operations
from es.bulk import Operation, refusal, send
from es.commands import nodes_of
from es.copies import copy
from es.documents import OPERATIONS, alias, rejects_alias
from es.loading import BulkLoad, recover
from es.migration import Migration, Shape
from es.scan import current, delete, scan
from es.security.check import rights, user, visible
from es.security.roles import descriptor
from es.security.setup import init
from faces.recipe import DEFAULT
from ingest.run import settle
from ingest.writer import Writer
from query.exact import exact
from query.knn import nearest
from tests.es.security.conftest import As
from tests.faces_made import vector, work
from tests.servers import Secured

Deed = Callable[[Elasticsearch, str], Any]  # with the name of a collection


def _store(client: Elasticsearch, name: str, photo: str) -> None:
    (done,) = Writer(client, name, model="Dlib", run="r", detection="d").write([work(photo, 7)])
    assert done.created == 1


def _first(client: Elasticsearch, name: str) -> str:
    return str(client.search(index=alias(name), size=1)["hits"]["hits"][0]["_id"])


def _documents(client: Elasticsearch, name: str) -> Any:
    return current(client, scan(client, alias(name), {"match_all": {}}, []), [])


def _loaded(client: Elasticsearch, name: str) -> None:
    with BulkLoad(client, name, print) as load:
        load.begin()


def _copied(client: Elasticsearch, name: str) -> None:
    with copy(client, collections.get(client, name), "hnsw"):
        pass


READ: dict[str, Deed] = {
    "search": lambda c, name: c.search(index=alias(name)),
    "search the index itself": lambda c, name: c.search(index=f"{alias(name)}-v1"),
    "search the rejects": lambda c, name: c.search(index=rejects_alias(name)),
    "knn": lambda c, name: nearest(c, name, [vector(1)], 2),
    "several at once": lambda c, name: nearest(c, name, [vector(1), vector(2)], 2),
    "exact": lambda c, name: exact(c, name, vector(1)[None], 2),
    "scan": lambda c, name: list(current(c, scan(c, alias(name), {"match_all": {}}, []), ["person"])),
    "count": lambda c, name: collections.count(c, collections.get(c, name)),
    "describe": lambda c, name: collections.describe(c, collections.get(c, name)),
    "metadata": lambda c, name: c.indices.get(index=alias(name)),
}
WRITE: dict[str, Deed] = {
    "create": lambda c, name: _store(c, name, "new.jpg"),
    "update": lambda c, name: c.update(index=alias(name), id=_first(c, name), doc={"person": "somebody"}),
    "refresh": settle,
}
CHANGE: dict[str, Deed] = {
    "delete a face": lambda c, name: delete(c, _documents(c, name)),
    "delete by id": lambda c, name: c.delete(index=f"{alias(name)}-v1", id="not there"),
    "change the mapping": lambda c, name: collections.annotate(c, name, calibration={}),
    "change settings": lambda c, name: c.indices.put_settings(index=alias(name), settings={"refresh_interval": "1s"}),
    "add an alias": lambda c, name: c.indices.put_alias(index=f"{alias(name)}-v1", name=f"{alias(name)}--x"),
    "bulk load": _loaded,
    "copy": _copied,
    "delete the collection": lambda c, name: c.indices.delete(index=f"{alias(name)}-v1"),
}


def _refused(deed: Deed, client: Elasticsearch, name: str) -> bool:
    try:
        deed(client, name)
    except AuthorizationException:
        return True
    except EngineError as error:
        if error.code != "forbidden":
            raise
        assert "facedex_" in str(error), "the role that is needed is named"
        return True
    except ApiError as error:
        if error.status_code != 404:  # allowed, but there is nothing of this id
            raise
    return False


MAY = {
    "search": [READ],
    "viewer": [READ],
    "ingest": [READ, WRITE],
    "steward": [READ, WRITE, CHANGE],
    "search-all": [READ],
    "stranger": [],
}


@pytest.mark.parametrize("who", MAY)
def test_each_may_do_what_the_role_says_and_nothing_else(as_: As, staff: str, who: str) -> None:
    client = as_(who)
    for deeds in (READ, WRITE, CHANGE):
        done = {name for name, deed in deeds.items() if not _refused(deed, client, staff)}
        assert done == (set(deeds) if deeds in MAY[who] else set()), who


@pytest.mark.parametrize("who", ["search", "ingest", "steward", "viewer"])
def test_nobody_reaches_a_collection_whose_name_begins_alike(as_: As, staff: str, who: str) -> None:
    other = f"{staff}-old"
    for name, deed in {**READ, **WRITE, **CHANGE}.items():
        assert _refused(deed, as_(who), other), name
    for everywhere in ("facedex-*", "*", "_all"):
        hits = as_(who).search(index=everywhere)["hits"]["hits"]
        assert {hit["_index"] for hit in hits} == {f"{alias(staff)}-v1"}
    assert visible(as_(who)) == [staff]
    assert collections.count(as_("administrator"), collections.get(as_("administrator"), other))["faces"] == 1


def test_only_stewards_make_collections(as_: As, staff: str) -> None:
    collections.delete(as_("administrator"), collections.get(as_("administrator"), staff))
    with pytest.raises(EngineError, match="have a steward run `facedex collections create staff`") as caught:
        collections.ensure(as_("ingest"), staff, DEFAULT.as_dict())
    assert caught.value.code == "forbidden"
    collections.create(as_("steward"), staff, DEFAULT.as_dict())
    with pytest.raises(EngineError):
        collections.create(as_("steward"), "staff-new", DEFAULT.as_dict())


def _bulk(client: Elasticsearch, kind: str, id_: str) -> None:
    """One operation in bulk; refused as a request by itself would be."""
    answer = client.bulk(operations=[{kind: {"_index": OPERATIONS, "_id": id_}}, {"by": id_}])
    ((_, result),) = answer["items"][0].items()
    if result["status"] == 403:
        raise AuthorizationException("refused", answer.meta, result)
    assert result["status"] == 201


OTHER_DEEDS: list[Deed] = [
    lambda c, id_: _bulk(c, "index", id_),
    lambda c, _: c.indices.put_mapping(index=OPERATIONS, meta={"facedex": {"recipe": {}}}),
    lambda c, _: c.indices.put_mapping(index=OPERATIONS, properties={"more": {"type": "keyword"}}),
    lambda c, id_: c.index(index=OPERATIONS, id=id_, document={}),
    lambda c, id_: c.update(index=OPERATIONS, id=id_, doc={"by": "another"}),
    lambda c, id_: c.delete(index=OPERATIONS, id=id_),
    lambda c, _: c.search(index=OPERATIONS),
]


def test_the_record_of_operations_is_added_to_and_read_by_viewers_of_all(as_: As) -> None:
    index = f"{OPERATIONS}-v1"
    admin = as_("administrator")
    admin.indices.delete(index=index, ignore_unavailable=True)
    admin.indices.create(index=index, mappings={"properties": {"by": {"type": "keyword"}}}, aliases={OPERATIONS: {}})
    try:
        for who in ("search", "ingest", "steward", "search-all", "ingest-all"):
            _bulk(as_(who), "create", who)
            _bulk(as_(who), "create", f"{who} 2")
            for deed in OTHER_DEEDS:
                with pytest.raises(AuthorizationException):
                    deed(as_(who), who)
        for who in ("viewer", "stranger"):
            with pytest.raises(AuthorizationException):
                _bulk(as_(who), "create", "x")
            with pytest.raises(AuthorizationException):
                as_(who).search(index=OPERATIONS)
        admin.indices.refresh(index=OPERATIONS)
        assert as_("viewer-all").count(index=OPERATIONS)["count"] == 10
        assert as_("steward-all").count(index=OPERATIONS)["count"] == 10
    finally:
        admin.indices.delete(index=index)


def test_recording_takes_no_more_than_the_right_to_add(as_: As) -> None:
    admin = as_("administrator")
    admin.indices.delete(index=f"{OPERATIONS}-v1", ignore_unavailable=True)
    said: list[str] = []

    def record(who: str) -> None:
        operations.write(as_(who), "search", "staff", datetime.now(UTC), {"outcome": "finished", "seconds": 1.0}, warn=said.append)

    record("search")  # who may not make the index is not told that it is missing
    assert not admin.indices.exists(index=f"{OPERATIONS}-v1")
    init(admin, given={})
    for who in ("search", "ingest", "steward", "search-all", "viewer"):
        record(who)
    assert said == []
    admin.indices.refresh(index=OPERATIONS)
    assert {one["user"] for one in operations.latest(as_("viewer-all"), 10)} == {"search", "ingest", "steward", "search-all"}
    for who in ("search", "steward", "viewer", "stranger"):
        for look in (partial(operations.latest, as_(who), 10), partial(operations.prune, as_(who), datetime.now(UTC))):
            with pytest.raises(EngineError, match="facedex_viewer") as caught:
                look()
            assert caught.value.code == "forbidden"
    assert operations.prune(as_("steward-all"), datetime.now(UTC)) == 4


def test_what_is_said_of_rights_is_what_may_be_done(as_: As, staff: str) -> None:
    for who, may in {
        "search": ["search"],
        "ingest": ["search", "ingest"],
        "steward": ["search", "ingest", "steward"],
        "stranger": [],
    }.items():
        assert rights(as_(who), staff, f"{staff}-old") == {staff: may, f"{staff}-old": []}
    assert rights(as_("ingest-all"), "not-made-yet") == {"not-made-yet": ["search", "ingest"]}
    assert rights(as_("search")) == {}
    found = user(as_("search"))
    assert found is not None
    assert found.as_dict() == {"name": "search", "roles": ("facedex_search_staff",), "kind": "realm"}
    assert visible(as_("stranger")) == []


def test_a_cluster_without_users_is_told(client: Elasticsearch) -> None:
    assert user(client) is None
    with pytest.raises(UsageError, match="has no users"):
        init(client, given={})


def test_tasks_and_nodes_are_for_stewards(as_: As) -> None:
    for who in ("search", "ingest", "viewer"):
        for look in (
            partial(as_(who).perform_request, "GET", "/_tasks", headers={"accept": "application/json"}),
            as_(who).cluster.state,
            as_(who).nodes.info,
        ):
            with pytest.raises(AuthorizationException):
                look()
    steward = as_("steward")
    assert steward.cluster.health()["status"]
    assert nodes_of(steward)
    # What shows the searches of others, in other collections too, and with them faces.
    for path in ("/_tasks?detailed", "/_nodes/hot_threads"):
        with pytest.raises(AuthorizationException):
            steward.perform_request("GET", path, headers={"accept": "*/*"})


def test_a_load_that_was_cut_off_is_told_to_who_may_not_restore_it(as_: As, staff: str) -> None:
    load = BulkLoad(as_("steward"), staff, print)
    load.begin()
    load._mark(0.0)  # as if its lease had ended
    for who in ("search", "ingest"):
        said: list[str] = []
        assert not recover(as_(who), staff, said.append)
        assert "have a steward run `facedex status`" in said[0]
    settle(as_("ingest"), staff)
    assert recover(as_("steward"), staff, print)


def test_who_ingests_may_merge_at_the_end(as_: As, staff: str) -> None:
    _store(as_("ingest"), staff, "merged.jpg")
    merging.merge(as_("ingest"), alias(staff))
    with pytest.raises(EngineError):
        merging.merge(as_("search"), alias(staff))


def test_a_migration_that_was_cut_off_keeps_nobody_from_ingesting(as_: As, staff: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not take it back does not see it."""
    with Migration(as_("steward"), staff, Shape(merge=False)) as migration:
        with monkeypatch.context() as later:
            later.setattr("es.marks.is_over", lambda _: True)
            settle(as_("ingest"), staff)
        _store(as_("ingest"), staff, "meanwhile.jpg")
        migration.fill()
        migration.swap()
    assert migration.moved.faces == 3


def test_a_refusal_names_no_content(as_: As, staff: str) -> None:
    operation = Operation.of({"index": {"_index": alias(staff), "_id": "x"}}, {"person": "Ada", "embedding": [0.123456] * 128})
    (result,) = send(as_("search"), [operation])
    error = refusal(operation, result)
    assert error.code == "forbidden"
    assert "facedex_ingest" in str(error)
    assert "0.123" not in str(error)
    assert "Ada" not in str(error)


def test_this_distribution_takes_the_roles_and_keys_but_can_not_keep_them(as_: As, tmp_path: Any) -> None:
    done = init(as_("administrator"), ["staff"], keys=tmp_path / "keys", given={})
    assert (done.roles, done.keys) == ([], {})
    assert "roles.yml" in str(done.missing)
    # The server checks a request before it finds that it can't keep it: a wrong one is another error.
    for right in ("search", "ingest", "steward"):
        role = {key: value for key, value in descriptor(right, "staff").items() if key != "description"}
        with pytest.raises(BadRequestError, match="Unknown filter type"):
            as_("administrator").security.create_api_key(name="k", role_descriptors={"r": role}, expiration="1d")
        with pytest.raises(BadRequestError, match="unknown cluster privilege"):
            as_("administrator").security.create_api_key(name="k", role_descriptors={"r": role | {"cluster": ["x"]}}, expiration="1d")
    with pytest.raises(EngineError, match="administrator's rights") as caught:
        init(as_("steward"), ["staff"], given={})
    assert caught.value.code == "forbidden"


def test_passwords_stand_nowhere_on_disk(secured: Secured) -> None:
    for path in (Path(folder) / name for folder, _, names in os.walk(secured.home) for name in names):
        with suppress(FileNotFoundError):  # the server goes on, and takes files away
            content = path.read_bytes() if path.stat().st_size < 10_000_000 else b""
            assert not any(password.encode() in content for password in secured.passwords.values()), path
