"""The requests of one client: repeated at once where somebody waits for the answer, with patience during a long run.

A client knows all nodes. Reading is harmless to repeat, so it goes to another node where one is dead, answers that it can't, or says
nothing for a while. The time for a try grows: a node that is frozen costs two seconds, and a cluster that is only slow is given its time.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import elastic_transport
from elastic_transport import TransportApiResponse, TransportError
from elastic_transport.client_utils import DEFAULT

from core.settings import settings
from es.patience import Busy, is_passing, may_pass, patiently

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.access import Engine

# Not the searches of a point in time (they name no index): pages of a long run, which may take their time.
_READS = re.compile(r"/[^/?]+/_(m?search|count|pit|mget)(\?|$)|/_mget(\?|$)")
_FIRST_LIMIT = 2.0  # seconds for each of the first two tries; then twice as long each time
_TRIES, _TRIES_OF_ONE = 8, 4  # with several nodes; with one
_NOT_FOUND = 404
_WAIT = 0.05  # seconds; twice as long each time, and a random part of that


class Transport(elastic_transport.Transport):
    """Elastic's transport, which goes on to another node, and can be told to wait for a cluster that is busy or away."""

    patience = 0.0  # seconds
    patient = 0  # blocks that want it: threads can share a client, and leave in any order
    counting = threading.Lock()
    timeout = 60.0  # seconds for a request, but for tries of which there are more
    engine: Engine = "given"
    username: str | None = None  # that was given for it
    has_api_key = False

    def perform_request(self, method: str, target: str, **how: Any) -> TransportApiResponse:
        """See :meth:`elastic_transport.Transport.perform_request`. With ``max_retries=0``, a request is made once whatever the patience.

        Errors are marked with the engine that was asked.
        """
        try:
            return self._perform(method, target, **how)
        except TransportError as error:
            vars(error)["engine"] = self.engine
            raise

    def _perform(self, method: str, target: str, **how: Any) -> TransportApiResponse:
        reads = method in {"GET", "HEAD"} or (method == "POST" and _READS.match(target) is not None)
        is_limited = reads and len(self.node_pool) > 1 and how.get("request_timeout", DEFAULT) is DEFAULT
        if how.get("request_timeout", DEFAULT) is DEFAULT:
            how["request_timeout"] = self.timeout
        if how.get("max_retries") == 0 or not (reads or self.patience):
            return super().perform_request(method, target, **how)
        how["max_retries"] = 0  # those of the library come without a wait
        answer: TransportApiResponse | None = None
        tries = count()

        def attempt() -> TransportApiResponse:
            nonlocal answer, target
            number = next(tries)
            if is_limited:
                how["request_timeout"] = min(self.timeout, _FIRST_LIMIT * 2 ** max(0, number - 1))
                if number == 1:
                    target, how["body"] = _local(target, how.get("body"))
            try:
                answer = super(Transport, self).perform_request(method, target, **how)
            except TransportError as error:
                vars(error)["engine"] = self.engine
                raise
            # A node that has just come back can know no index yet: the others do.
            is_unaware = answer.meta.status == _NOT_FOUND and len(self.node_pool) > 1 and _READS.match(target) is not None
            if is_unaware or is_passing(answer.meta.status, answer.body):
                raise Busy
            return answer

        try:
            return patiently(attempt, self.patience) if self.patience else self._soon(attempt)
        except Busy:
            assert answer is not None  # noqa: S101 - there was one, or another error
            return answer

    def _soon(self, attempt: Callable[[], TransportApiResponse]) -> TransportApiResponse:
        tries = _TRIES if len(self.node_pool) > 1 else _TRIES_OF_ONE
        for number in range(tries - 1):
            try:
                return attempt()
            except (TransportError, Busy) as error:
                if not may_pass(error):
                    raise
            time.sleep(random.uniform(0, _WAIT * 2**number))  # noqa: S311
        return attempt()


def _local(target: str, body: Any) -> tuple[str, Any]:
    """The same search, to be answered from what the asked node has itself, as far as it can: another that it asks may be the frozen one."""
    path, _, query = target.partition("?")
    if "preference=" in query:
        return target, body
    if path.endswith("/_search"):
        return f"{path}?{query}{'&' if query else ''}preference=_local", body
    if path.endswith("/_msearch") and isinstance(body, list):  # headers and searches in turn
        return target, [part if number % 2 else {"preference": "_local", **part} for number, part in enumerate(body)]
    return target, body


@contextmanager
def patience(client: Elasticsearch) -> Iterator[None]:
    """Within the block, requests of this client and its copies wait out a busy cluster, for ``retry_seconds`` each."""
    transport = client.transport
    assert isinstance(transport, Transport)  # noqa: S101 - es.client makes all clients
    with transport.counting:
        transport.patient += 1
        transport.patience = settings().retry_seconds
    try:
        yield
    finally:
        with transport.counting:
            transport.patient -= 1
            if not transport.patient:
                transport.patience = 0.0
