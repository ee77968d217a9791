"""A time limit for calls that have none: name servers, and whatever fsspec speaks to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

_MOST = threading.BoundedSemaphore(64)  # threads at once, among them those that were given up and still wait


def within(seconds: float, function: Callable[[], Result]) -> Result:
    """What a function returns or raises. It runs in a thread, which is left to itself when it takes too long.

    Raises:
        TimeoutError: it took longer, or too many others hang.
    """
    until = time.monotonic() + seconds
    if not _MOST.acquire(timeout=max(0.0, seconds)):
        raise TimeoutError
    done = threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            errors.append(error)
        finally:
            _MOST.release()
            done.set()

    threading.Thread(target=call, name="within", daemon=True).start()
    if not done.wait(max(0.0, until - time.monotonic())):
        raise TimeoutError
    if errors:
        raise errors[0]
    return results[0]
