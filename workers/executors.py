"""Where photos are looked at: in this process, in worker processes, on a Dask cluster. All look like ``concurrent.futures.Executor``."""

from __future__ import annotations

import os
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures import TimeoutError as PhotoTimeout
from importlib.metadata import version
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from core.errors import EngineError, UsageError
from workers import on_dask
from workers.processes import WorkerDied, Workers
from workers.worker import Outcome, Reject, represent, resume, start

if TYPE_CHECKING:
    from faces.recipe import Recipe
    from photos.places import Place
    from workers.worker import Detection

    InitArgs = tuple[Recipe, Detection, int, bool]

Args = ParamSpec("Args")
Result = TypeVar("Result")

SECONDS_PER_PHOTO = 120.0  # after which a photo is given up
_SEVERAL_SECONDS = 15.0  # after which several photos are, all of which should have taken less than one
_ANSWER_SECONDS = 10  # for the scheduler of a Dask cluster
_WORKERS_SECONDS = 60  # for its first worker, which may only be starting
_COUNT_SECONDS = 10.0  # between two counts of its workers: clusters grow
_turn = threading.Lock()  # detectors are not safe in two threads


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Embedder(Executor):
    """An executor whose workers have the models of one recipe. ``seconds`` is the limit of one photo by itself."""

    deaths: tuple[type[BaseException], ...] = ()  # what a future raises when its photo took a worker along
    together = 8  # quick photos in one call, at most: see faces.pipeline.Pipeline.find_all
    died = "The worker process died of this photo (out of memory, or a crash in a decoder)."

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @property
    @abstractmethod
    def width(self) -> int:
        """Photos that are looked at at the same time."""

    @abstractmethod
    def submit(self, fn: Callable[Args, Result], /, *args: Args.args, **kwargs: Args.kwargs) -> Future[Result]:
        """Has a worker call the function."""

    def look(self, photos: Sequence[Place]) -> Future[list[Outcome]]:
        """Has a worker look at photos."""
        return self.submit(represent, photos)

    @abstractmethod
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the workers: once they have nothing left to do, or with ``cancel_futures`` at once. May be called again."""

    def outcomes(self, photos: Sequence[Place], future: Future[list[Outcome]]) -> list[Outcome]:
        """What became of photos. One that its worker died of, or that took too long, is a reject; those that were with it are done again.

        Args:
            photos: which.
            future: what :meth:`look` gave for these photos.

        Raises:
            FacedexError: what would fail for every photo.
        """
        try:
            return future.result()
        except PhotoTimeout:
            reject = Reject("timeout", f"The photo took more than {self._seconds:g} seconds.")
        except self.deaths:
            reject = Reject("worker_died", self.died)
        if len(photos) == 1:
            return [Outcome(reject=reject)]
        alone = [([photo], self.look([photo])) for photo in photos]  # all are given before the first is waited for
        return [outcome for photo, again in alone for outcome in self.outcomes(photo, again)]


class InProcess(Embedder):
    """This process itself: one photo at a time, without a limit of time, and a crash in a decoder ends the run. For looking closely.

    Several can be open, in any threads: they take turns.
    """

    width = together = 1

    def __init__(self, initargs: InitArgs, seconds: float) -> None:
        super().__init__(seconds)
        with _turn:
            self._ready = start(*initargs)

    def submit(self, fn: Callable[Args, Result], /, *args: Args.args, **kwargs: Args.kwargs) -> Future[Result]:
        """Calls the function now."""
        future: Future[Result] = Future()
        try:
            with _turn:
                resume(self._ready)
                future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed to whoever asks for the result
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing is left to end."""


class Processes(Embedder):
    """Processes of this machine."""

    deaths = (WorkerDied,)

    def __init__(self, workers: int, initargs: InitArgs, seconds: float) -> None:
        super().__init__(seconds)
        self._count = workers
        self._workers = Workers(workers, initargs, seconds)

    @property
    def width(self) -> int:
        """One call a process."""
        return self._count

    def submit(self, fn: Callable[Args, Result], /, *args: Args.args, **kwargs: Args.kwargs) -> Future[Result]:
        """Has a process call the function, and ends the process when that takes too long."""
        return self._workers.submit(fn, args, kwargs, self._seconds)

    def look(self, photos: Sequence[Place]) -> Future[list[Outcome]]:
        """See :meth:`Embedder.look`. Of several, each is done again where that takes too long, so they get less time than one."""
        seconds = self._seconds if len(photos) == 1 else min(self._seconds, _SEVERAL_SECONDS)
        return self._workers.submit(represent, (photos,), {}, seconds)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the processes."""
        self._workers.shutdown(wait=wait, cancel=cancel_futures)


class DaskCluster(Embedder):
    """The workers of a Dask cluster, which have Facedex installed and see the photos at the same paths as this machine.

    A worker that dies loses nothing: its photos go to others. A photo that kills one after the other (the scheduler's
    ``allowed-failures``, 3) becomes a reject. Photos go one by one: others may use these workers, and are to lose no more of them.
    """

    together = 1
    died = "This photo, one after the other, took the Dask workers along that looked at it (out of memory, a crash, or too long a look)."

    def __init__(self, address: str, initargs: InitArgs, seconds: float) -> None:
        """Connects.

        Raises:
            UsageError: Dask isn't installed here.
            EngineError: there is no scheduler at this address, or it has no workers.
        """
        super().__init__(seconds)
        try:
            from distributed import Client, KilledWorker
        except ImportError:
            raise UsageError("A Dask cluster needs a package that isn't here: pip install 'facedex[dask]'.", code="no_dask") from None
        self.deaths = (KilledWorker,)
        self._address = address
        self._order = on_dask.Order(initargs, version("facedex"), seconds)
        try:
            self._client = Client(address, timeout=_ANSWER_SECONDS, set_as_default=False, name="facedex")
        except (OSError, ValueError, TimeoutError):
            raise EngineError(
                f"There is no Dask scheduler at {address}: start one, or give --dask as tcp://HOST:PORT.", code="dask_unreachable"
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=_WORKERS_SECONDS)
        except TimeoutError:
            self._client.close()
            raise EngineError(f"The Dask cluster at {address} has no workers: start some.", code="dask_unreachable") from None
        # Not pure: a result is no longer wanted once it is here. Without retries: what a photo raises, it raises again.
        self._executor = self._client.get_executor(pure=False)
        self._width, self._counted = 1, 0.0

    @property
    def width(self) -> int:
        """The threads of all workers, counted now and then."""
        if not self._counted or time.monotonic() - self._counted > _COUNT_SECONDS:
            self._width, self._counted = max(1, sum(self._client.nthreads().values())), time.monotonic()
        return self._width

    def submit(self, fn: Callable[Args, Result], /, *args: Args.args, **kwargs: Args.kwargs) -> Future[Result]:
        """Has a worker of the cluster call the function."""
        future: Future[Result] = self._executor.submit(on_dask.call, self._order, fn, *args, **kwargs)
        return future

    def outcomes(self, photos: Sequence[Place], future: Future[list[Outcome]]) -> list[Outcome]:
        """See :meth:`Embedder.outcomes`.

        Raises:
            EngineError: the cluster is gone, or its workers don't have Facedex.
            FacedexError: what would fail for every photo, such as other weights on a worker.
        """
        try:
            return super().outcomes(photos, future)
        except CancelledError:
            raise EngineError(
                f"The Dask cluster at {self._address} is gone: run this again when it is back, and it goes on.", code="dask_unreachable"
            ) from None
        except ImportError as error:
            raise EngineError(
                f"The Dask workers lack the package {error.name or 'facedex'}: install this version of Facedex on them.", code="dask_worker"
            ) from None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leaves the cluster; its workers stay."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        self._client.close()


def embedder(workers: int, dask: str | None, initargs: InitArgs, seconds: float) -> Embedder:
    """The executor that was asked for: a Dask cluster, else so many processes, else (0) this process.

    Raises:
        ModelError: the models can't be had.
        EngineError, UsageError: there is no such cluster.
    """
    from faces.pipeline import prepare

    prepare(initargs[0], anti_spoofing=initargs[1].anti_spoofing)  # once, before many processes need the models
    if dask is not None:
        return DaskCluster(dask, initargs, seconds)
    return Processes(workers, initargs, seconds) if workers else InProcess(initargs, seconds)
