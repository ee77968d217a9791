"""What runs on a worker of a Dask cluster: the models are made once a process, and one photo at a time is looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

from core.errors import ModelError
from workers.worker import limited, start

Result = TypeVar("Result")

_one = threading.Lock()  # the detectors are not safe in threads: a worker with several is no faster than one
_prepared: Order | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What every photo of a run is looked at with."""

    initargs: Any  # of workers.worker.start
    version: str  # of the Facedex that asks
    seconds: float  # for one photo


def call(order: Order, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
    """Calls a function of ``workers.worker`` in this process, prepared as ordered.

    Raises:
        ModelError: this worker has another version of Facedex, or other weights (RecipeMismatch).
    """
    global _prepared  # noqa: PLW0603 - one set of models a process
    if order.version != version("facedex"):
        raise ModelError(
            f"A Dask worker has Facedex {version('facedex')}, and this is {order.version}: install the same everywhere.", code="dask_worker"
        )
    with _one:
        if _prepared != order:
            start(*order.initargs)
            _prepared = order
        with _limited(order.seconds):
            return fn(*args, **kwargs)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Ends this process when a photo takes too long. Its nanny starts the worker again.

    A worker without a nanny is not ended: it would be missed by everybody else who uses the cluster.
    """
    from distributed import get_worker

    if get_worker().nanny is None:
        yield
        return
    with limited(seconds):
        yield
