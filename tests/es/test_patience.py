import pytest

from es.patience import is_passing


@pytest.mark.parametrize(
    ("status", "body", "passing"),
    [
        (200, {"count": 3, "_shards": {"total": 2, "successful": 2, "failed": 0}}, False),
        (200, {"count": 1, "_shards": {"total": 2, "successful": 1, "failed": 1}}, True),
        (200, {"responses": [{"status": 200}, {"status": 503}]}, True),
        (200, {"responses": [{"status": 200}, {"status": 400}]}, False),
        (200, {"docs": [{"found": False}]}, False),
        (200, {"docs": [{"error": {"type": "no_shard_available_action_exception"}}]}, True),
        (200, {"docs": [{"error": {"type": "index_not_found_exception"}}]}, False),
        (429, None, True),
        (429, {"error": {"type": "cluster_block_exception", "reason": "index has read-only-allow-delete block"}}, False),
        (404, {}, False),
    ],
)
def test_what_may_go_well_in_a_moment(status: int, body: object, passing: bool) -> None:
    assert is_passing(status, body) is passing
