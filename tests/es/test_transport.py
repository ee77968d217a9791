from collections.abc import Iterator

import pytest
from elasticsearch import ApiError, Elasticsearch

from core.settings import settings
from es.client import connect
from es.transport import patience
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


def test_what_will_not_pass_is_told_at_once(shaken: Elasticsearch, weather: Weather) -> None:
    with patience(shaken), pytest.raises(ApiError) as caught:
        shaken.count(index="nothing-here")
    assert caught.value.status_code == 404
    assert weather.asked == 1
