from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.errors import UsageError
from es.collections import check_name
from es.documents import OPERATIONS, alias, rejects_alias
from es.security.roles import RIGHTS, Right, descriptor, pattern, role_name, roles


def _is_name(text: str) -> bool:
    try:
        return check_name(text) == text
    except UsageError:
        return False


_PIECES = st.sampled_from(["staff", "v1", "v", "v12", "rejects", "old", "1", "_", "-", "-v1", "-v1x", "-rejects", "-rejects-v1", "loading"])
NAMES = st.one_of(st.lists(_PIECES, min_size=1, max_size=5).map("".join), st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)).filter(
    _is_name
)


def _reaches(right: Right, index: str, collection: str | None) -> bool:
    # What is used of them, Lucene's regular expressions have in common with Python's.
    return re.fullmatch(pattern(right, collection).strip("/"), index) is not None


def _indices(name: str) -> list[str]:
    own = [alias(name), rejects_alias(name)]
    return [*own, *(f"{each}-v{number}" for each in own for number in (1, 2, 10))]


def _helpers(name: str) -> list[str]:
    return [f"{alias(name)}--copy-0a1b", f"{alias(name)}--loading-0a1b"]


@given(NAMES, st.one_of(NAMES, _PIECES, st.from_regex(r"-v[0-9a-z]{1,3}", fullmatch=True)), st.sampled_from(RIGHTS), st.booleans())
def test_a_role_for_one_collection_reaches_all_of_it_and_nothing_of_another(name: str, other: str, right: Right, longer: bool) -> None:
    other = name + other if longer else other
    assume(_is_name(other))
    assert all(_reaches(right, index, name) for index in _indices(name))
    assert all(_reaches(right, index, None) for index in _indices(name))
    assume(name != other)
    assert not any(_reaches(right, index, name) for index in (*_indices(other), *_helpers(other)))


@given(NAMES, st.sampled_from(RIGHTS))
def test_helpers_are_the_stewards_and_operations_nobodys(name: str, right: Right) -> None:
    for collection in (name, None):
        assert all(_reaches(right, index, collection) == (right == "steward") for index in _helpers(name))
        assert not any(_reaches(right, index, collection) for index in (OPERATIONS, f"{OPERATIONS}-v1", ".security-7", "other"))


def test_what_looks_alike_is_another(  # so that the property is known to be about something
) -> None:
    for other in ("staff-old", "staff-v1x", "staff-vip", "staff1", "staff_v1", "staff-rejects-x"):
        assert _is_name(other)
        assert not _reaches("steward", alias(other), "staff")


def test_names() -> None:
    assert list(roles(["staff"])) == [role_name(right, "staff") for right in RIGHTS]
    assert list(roles()) == [f"facedex_{right}" for right in RIGHTS]
    assert list(roles(["a", "b"])) == [*roles(["a"]), *roles(["b"])]
    with pytest.raises(UsageError, match="collection"):
        roles(["staff*"])


def test_only_stewards_see_the_cluster_and_delete() -> None:
    for name in (None, "staff"):
        for right in set(RIGHTS) - {"steward"}:
            role = descriptor(right, name)
            assert role["cluster"] == []
            granted = {privilege for entry in role["indices"] for privilege in entry["privileges"]}
            assert not granted & {"all", "delete", "write", "manage", "delete_index", "create_index"}
