"""Disturbs the nodes of a cluster one after another, while clients search without pause and an ingest writes: what they notice of it."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from core.errors import FacedexError
from core.settings import settings
from es.client import connect, speaking
from es.cluster import processes
from es.documents import alias, face_id

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch
    from numpy.typing import NDArray

    from es.cluster.plan import Member, Plan
    from ingest.writer import Work

ACTIONS = ("stop", "kill", "pause")
CLIENTS = 4
KNOWN = 64  # people who are searched for
_MODEL = "Dlib"
_WORKS_A_SECOND = 50
_SAME = 1e-3  # cosine distance of a face and itself
_FROZEN_SECONDS = 3.0  # after the others have noticed
_PATIENCE = 240.0  # seconds for the cluster to become whole again


class Actions(Protocol):
    """What can be done to a node."""

    def stop(self, member: Member) -> None:
        """Ends it in an orderly way, and waits for its end."""

    def kill(self, member: Member) -> None:
        """Ends it at once."""

    def pause(self, member: Member) -> None:
        """Freezes it: its connections stay, and nothing comes."""

    def resume(self, member: Member) -> None:
        """Lets it go on."""

    def start(self, member: Member) -> None:
        """Starts it again, and waits until it answers."""


class LocalActions:
    """On the processes of this machine."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def stop(self, member: Member) -> None:
        """SIGTERM, as a machine that is shut down sends it."""
        from es.local import node

        node.stop_at(processes.home_of(self._plan, member.name))

    def kill(self, member: Member) -> None:
        """SIGKILL to the server."""
        os.kill(int(member.id), signal.SIGKILL)

    def pause(self, member: Member) -> None:
        """SIGSTOP."""
        os.kill(int(member.id), signal.SIGSTOP)

    def resume(self, member: Member) -> None:
        """SIGCONT."""
        os.kill(int(member.id), signal.SIGCONT)

    def start(self, member: Member) -> None:
        """All that are missing."""
        processes.up(self._plan, lambda _: None)


def vector(seed: int) -> NDArray[np.float32]:
    """A random direction, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal(128).astype(np.float32)


def work(number: int, person: str) -> Work:
    """A photo with one face."""
    from faces.face import Face
    from ingest.writer import Work
    from photos.sources import Source
    from workers.worker import Outcome

    face = Face(box=(1, 2, 30, 40), landmarks=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10)), confidence=1.0, embedding=vector(number))
    return Work(Source(f"/photos/{number}.jpg", person), Outcome(_sha256(number), 640, 480, (face,)))


def _sha256(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@dataclass
class Tally:
    """What the clients saw."""

    searches: int = 0
    wrong: int = 0  # answers without the one who is there
    failures: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0  # seconds that one search took
    acknowledged: list[int] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Searches that ended with an error."""
        return sum(self.failures.values())


@contextmanager
def clients(name: str, tally: Tally, rest: float = 0.0) -> Iterator[None]:
    """For the time of the block, four clients search a collection, and an ingest writes into it; what goes wrong is counted.

    The collection is to hold :func:`work` 0 to 63, whose people are named by their numbers. Each client rests for so many seconds
    after each search.
    """
    over, lock, errors = threading.Event(), threading.Lock(), list[BaseException]()

    def guarded(run: Callable[[], None]) -> Callable[[], None]:
        def body() -> None:
            try:
                run()
            except BaseException as error:  # noqa: BLE001 - told at the end
                errors.append(error)

        return body

    threads = [threading.Thread(target=guarded(lambda n=n: _search(name, n, tally, lock, over, rest))) for n in range(CLIENTS)]  # type: ignore[misc]
    threads.append(threading.Thread(target=guarded(lambda: _ingest(name, tally, over))))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    for error in errors:
        raise error


def _search(name: str, seed: int, tally: Tally, lock: threading.Lock, over: threading.Event, rest: float) -> None:
    from query.search import PairThreshold, searcher

    chance = np.random.default_rng(seed)
    with connect(settings()) as client:
        searching = searcher(client, name, PairThreshold(0.07))
        while not over.is_set():
            who = int(chance.integers(KNOWN))
            begun = time.monotonic()
            failure, is_right = None, True
            try:
                (matches,) = searching.people([vector(who)])
                is_right = bool(matches) and matches[0].person == str(who) and matches[0].photos[0].distance < _SAME
            except FacedexError as error:
                failure = f"{error.code}: {error}"
            with lock:
                tally.searches += 1
                tally.longest = max(tally.longest, time.monotonic() - begun)
                tally.wrong += not is_right
                if failure:
                    tally.failures[failure] += 1
            over.wait(rest)


def _ingest(name: str, tally: Tally, over: threading.Event) -> None:
    from es.transport import patience
    from ingest.writer import Writer

    def works() -> Iterator[Work]:
        number = KNOWN
        while not over.is_set():
            yield work(number, "somebody")
            number += 1
            time.sleep(1 / _WORKS_A_SECOND)

    with connect(settings()) as client, patience(client):
        for done in Writer(client, name, model=_MODEL, run="disturbed", detection="none").write(works()):
            tally.acknowledged.append(int(done.source.path.rpartition("/")[2].removesuffix(".jpg")))


def fill(client: Elasticsearch, name: str) -> None:
    """Makes the collection, with the people who are searched for."""
    from es.collections import create
    from faces.recipe import DEFAULT
    from ingest.writer import Writer

    create(client, name, DEFAULT.as_dict())
    list(Writer(client, name, model=_MODEL, run="before", detection="none").write(work(number, str(number)) for number in range(KNOWN)))
    with speaking():
        client.indices.refresh(index=alias(name))
        client.cluster.health(index=f"{alias(name)}*", wait_for_status="green", timeout="60s")


def disturb(client: Elasticsearch, actions: Actions, member: Member, what: str, nodes: int) -> None:
    """Stops, kills or freezes a node, waits until the others have noticed, brings it back, and waits until all is whole again."""
    getattr(actions, what)(member)
    try:
        _await(client, lambda health: health["number_of_nodes"] == nodes - 1)
        if what == "pause":
            time.sleep(_FROZEN_SECONDS)
    finally:
        (actions.resume if what == "pause" else actions.start)(member)
    whole(client, nodes)


def whole(client: Elasticsearch, nodes: int) -> None:
    """Waits until all nodes are there, and all copies of all shards."""
    _await(client, lambda health: health["number_of_nodes"] == nodes and health["status"] == "green")


def _await(client: Elasticsearch, reached: Callable[[Any], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with speaking():
                health = client.cluster.health()
            if reached(health):
                return
        except FacedexError:
            health = None
        if time.monotonic() > deadline:
            raise TimeoutError(f"the cluster did not become what it was to be: {health}")
        time.sleep(0.2)


def lost(client: Elasticsearch, name: str, tally: Tally) -> int:
    """How many acknowledged faces are not there, of those that were searched for and those that were written."""
    numbers = [*range(KNOWN), *tally.acknowledged]
    found = 0
    with speaking():
        for at in range(0, len(numbers), 1000):
            ids = [face_id(_sha256(number), 0, _MODEL) for number in numbers[at : at + 1000]]
            documents = client.mget(index=alias(name), ids=ids, source=False)["docs"]
            found += sum(bool(document.get("found")) for document in documents)
    return len(numbers) - found
