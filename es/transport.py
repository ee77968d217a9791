"""The requests of one client: repeated at once where somebody waits for the answer, with patience during a long run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import elastic_transport
from elastic_transport import TransportApiResponse

from core.settings import settings
from es.patience import Busy, is_passing, patiently

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch


class Transport(elastic_transport.Transport):
    """Elastic's transport, which can be told to wait for a cluster that is busy or away."""

    patience = 0.0  # seconds

    def perform_request(self, method: str, target: str, **how: Any) -> TransportApiResponse:
        """See :meth:`elastic_transport.Transport.perform_request`. With ``max_retries=0``, a request is made once whatever the patience."""
        if not self.patience or how.get("max_retries") == 0:
            return super().perform_request(method, target, **how)
        how["max_retries"] = 0  # those of the library come without a wait
        answer: TransportApiResponse | None = None

        def attempt() -> TransportApiResponse:
            nonlocal answer
            answer = super(Transport, self).perform_request(method, target, **how)
            if is_passing(answer.meta.status, answer.body):
                raise Busy
            return answer

        try:
            return patiently(attempt, self.patience)
        except Busy:
            assert answer is not None  # noqa: S101 - there was one, or another error
            return answer


@contextmanager
def patience(client: Elasticsearch) -> Iterator[None]:
    """Within the block, requests of this client and its copies wait out a busy cluster, for ``retry_seconds`` each."""
    transport = client.transport
    assert isinstance(transport, Transport)  # noqa: S101 - es.client makes all clients
    before, transport.patience = transport.patience, settings().retry_seconds
    try:
        yield
    finally:
        transport.patience = before
