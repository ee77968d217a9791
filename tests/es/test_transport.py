import socket
import time
from collections.abc import Iterator

import pytest
from elasticsearch import ApiError, Elasticsearch

from core.errors import FacedexError
from core.settings import settings
from es.client import connect
from es.collections import create
from es.documents import alias
from es.scan import current
from es.transport import patience
from faces.recipe import DEFAULT
from tests.faces_made import lost
from tests.storm import between


class Weather:
    """Troubles to come, one for each request; and what was asked."""

    def __init__(self) -> None:
        self.coming: list[int | None] = []
        self.asked = 0

    def __call__(self, _: str) -> int | None:
        self.asked += 1
        return self.coming.pop(0) if self.coming else None


@pytest.fixture
def weather() -> Weather:
    return Weather()


@pytest.fixture
def shaken(client: Elasticsearch, weather: Weather) -> Iterator[Elasticsearch]:
    with between(client, weather) as url, connect(settings().model_copy(update={"url": url})) as connected:
        yield connected


@pytest.mark.parametrize("coming", [[429, 503], [0, 0, 502], [504]])
def test_with_patience_trouble_is_waited_out(shaken: Elasticsearch, weather: Weather, coming: list[int | None]) -> None:
    weather.coming = list(coming)
    with patience(shaken):
        assert shaken.indices.exists(index="nothing-here").body is False
        assert shaken.options(request_timeout=5).count(index="*")["count"] >= 0
    assert weather.asked == len(coming) + 2


def test_without_patience_a_refusal_is_told_soon(shaken: Elasticsearch, weather: Weather) -> None:
    weather.coming = [429] * 10
    with pytest.raises(ApiError) as caught:
        shaken.count(index="*")
    assert caught.value.status_code == 429
    assert weather.asked <= 4


def test_what_must_be_asked_once_is_asked_once(shaken: Elasticsearch, weather: Weather) -> None:
    weather.coming = [429]
    with patience(shaken), pytest.raises(ApiError):
        shaken.options(max_retries=0).count(index="*")
    assert weather.asked == 1


@pytest.mark.usefixtures("impatient")
def test_patience_has_an_end_and_tells_the_last_answer(shaken: Elasticsearch, weather: Weather) -> None:
    weather.coming = [503] * 1000
    with patience(shaken), pytest.raises(ApiError) as caught:
        shaken.count(index="*")
    assert caught.value.status_code == 503
    weather.coming = []
    assert shaken.count(index="*")["count"] >= 0


def test_blocks_of_patience_end_in_any_order(shaken: Elasticsearch) -> None:
    first, second = patience(shaken), patience(shaken)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert vars(shaken.transport)["patience"] > 0
    second.__exit__(None, None, None)
    assert vars(shaken.transport)["patience"] == 0


def test_what_will_not_pass_is_told_at_once(shaken: Elasticsearch, weather: Weather) -> None:
    with patience(shaken), pytest.raises(ApiError) as caught:
        shaken.count(index="nothing-here")
    assert caught.value.status_code == 404
    assert weather.asked == 1


@pytest.fixture
def frozen() -> Iterator[str]:
    """A node that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_frozen_node_is_left_after_seconds(client: Elasticsearch, weather: Weather, frozen: str) -> None:
    with between(client, weather) as url, connect(settings().model_copy(update={"url": f"{frozen},{url}"})) as both:
        begun = time.monotonic()
        for _ in range(4):
            assert both.count(index="*")["count"] >= 0
        assert time.monotonic() - begun < 15


def test_another_node_is_asked_what_it_has_itself(client: Elasticsearch, name: str, frozen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    create(client, name, DEFAULT.as_dict())
    monkeypatch.setattr("es.transport._FIRST_LIMIT", 0.3)
    paths: list[str] = []
    with between(client, paths.append) as url, connect(settings().model_copy(update={"url": f"{frozen},{url}"})) as both:
        for _ in range(2):  # one of them begins with the frozen node
            both.search(index=alias(name), size=1)
        for _ in range(2):
            both.msearch(index=alias(name), searches=[{}, {"size": 1}])
    assert [path for path in paths if "preference=_local" in path]


def test_a_search_among_many_that_fails_is_repeated(shaken: Elasticsearch, weather: Weather, client: Elasticsearch, name: str) -> None:
    lost(client, name)
    answers = shaken.msearch(index=alias(name), searches=[{"allow_partial_search_results": False}, {"size": 1}])["responses"]
    assert answers[0]["status"] == 503
    assert weather.asked == 4


def test_no_answer_of_a_shard_is_no_answer(shaken: Elasticsearch, weather: Weather, client: Elasticsearch, name: str) -> None:
    lost(client, name)
    with pytest.raises(FacedexError):
        list(current(shaken, [{"_index": f"{alias(name)}-v1", "_id": "a"}], []))
    assert weather.asked == 4
