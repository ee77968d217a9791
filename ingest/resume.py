"""What a run has to do with each photo, given what the collection holds: skip, move, replace, or look at it.

Photos are known by their content. One whose stored path does not hold it any more is *moved*: its path and person are updated where they
are. What is stored under a path that has another content now is *stale*, and goes when the new content comes.

Photos are hashed and asked for a batch ahead of those that are looked at. What a glance shows may be older than what this run wrote, so
before something is changed, the documents themselves are read (in real time, unlike searches).
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from es.client import speaking
from es.documents import alias, rejects_alias
from es.scan import delete, scan, update
from ingest import presence
from ingest.fingerprints import Fingerprints, Look
from ingest.glance import Glance, Glimpse, glance
from ingest.known import Known, lookup
from ingest.writer import text

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from ingest.sources import Source

# Photos asked for at once: many where all of them are remembered, few where each has to be read before the first one is looked at.
_SMALLEST, _LARGEST = 256, 2048
_AHEAD = 2  # batches
_STOOD = 100_000  # photos with copies: so many are not looked for again with each copy


class Job(NamedTuple):
    """A photo to look at, unless it is ``settled``: ``sha256`` is ``None`` where it couldn't be read, ``known`` where there is nothing."""

    source: Source
    sha256: str | None
    known: Known | None
    settled: bool = False


@dataclass(slots=True)
class _Batch:
    sources: list[Source]
    paths: list[str]  # as they are stored
    looks: list[Look]
    unknown: set[str]  # paths that are not remembered: others may be stored under them
    seen: Glance = field(default_factory=Glance)

    def stale(self, path: str, sha256: str) -> bool:
        """Whether something else than this content is stored under a path."""
        return path in self.unknown and bool(self.seen.at.get(path, set()) - {sha256})


@dataclass(slots=True)
class _Stored:
    """One document, as it is now."""

    index: str
    id: str
    path: str
    sha256: str | None


class Resume:
    """Decides for the photos of one run.

    Args:
        client: the connection.
        name: the collection.
        detection: how faces are looked for; photos looked at in another way are looked at again.
        files: what files contained.
        again: looks again at what was left out, too.
    """

    def __init__(self, client: Elasticsearch, name: str, detection: str, files: Fingerprints, *, again: bool = False) -> None:
        self._client = client
        self._name = name
        self._detection = detection
        self._files = files
        self._again = again
        self._size = _SMALLEST
        self._pending: dict[str, Look] = {}  # photos on their way, to be remembered once they are stored
        self._stood: dict[str, str] = {}  # stored paths, and the content that they still held when this run looked
        self._doomed: set[bytes] = set()  # contents whose documents go in this run, because their path has another content now
        self.seconds = 0.0  # spent on waiting for what was read and asked
        self.moved = 0  # photos
        self.replaced = 0  # photos whose old content was stored

    def jobs(self, sources: Iterable[Source]) -> Iterator[Job]:
        """Each source, in order, with what is to be done with it."""
        sources = iter(sources)
        # A thread reads files, another asks Elasticsearch, this one decides: each is a batch ahead of the next.
        with ThreadPoolExecutor(1, thread_name_prefix="read") as reader, ThreadPoolExecutor(1, thread_name_prefix="ask") as asker:

            def ahead() -> Future[_Batch]:
                read = reader.submit(self._read, sources)
                return asker.submit(lambda: self._asked(read.result()))

            coming = deque(ahead() for _ in range(_AHEAD))
            while (batch := self._waited(coming.popleft())).sources:
                coming.append(ahead())
                yield from self._decided(batch)

    def _waited(self, batch: Future[_Batch]) -> _Batch:
        begun = time.perf_counter()
        try:
            return batch.result()
        finally:
            self.seconds += time.perf_counter() - begun

    def done(self, source: Source, sha256: str | None) -> None:
        """Notes that a photo is stored (or its reject is), with the content that was looked at."""
        look = self._pending.pop(source.path, None) if self._pending else None
        if look is not None and look.sha256 == sha256:
            self._files.remember(source.path, look)

    def _read(self, sources: Iterator[Source]) -> _Batch:
        some = list(itertools.islice(sources, self._size))
        looks = self._look(some)
        paths = [text(source.path) for source in some]
        unknown = {path for path, look in zip(paths, looks, strict=True) if look.sha256 is not None and not look.remembered}
        self._size = min(2 * self._size, _LARGEST) if 4 * len(unknown) < len(some) else _SMALLEST
        return _Batch(some, paths, looks, unknown)

    def _look(self, some: Sequence[Source]) -> list[Look]:
        """What each photo contains. Only files can be remembered; parts of archives and addresses are read."""
        files = iter(self._files.look([source.path for source in some if source.kept_in is None]))
        others = self._files.read([source.kept_in for source in some if source.kept_in is not None])
        return [next(files if source.kept_in is None else others) for source in some]

    def _asked(self, batch: _Batch) -> _Batch:
        hashes = [look.sha256 for look in batch.looks if look.sha256 is not None]
        batch.seen = glance(self._client, self._name, hashes, list(batch.unknown))
        return batch

    def _decided(self, batch: _Batch) -> Iterator[Job]:
        self._move(batch)
        stale = self._stale(batch)
        contents = batch.seen.contents
        here = {look.sha256 for look in batch.looks}
        all_settled = {sha256 for sha256, entry in contents.items() if sha256 in here and self._is_settled(sha256, entry)}
        # Of the others everything has to be known, and of rejects their message.
        open_ = [sha256 for sha256 in contents if sha256 in here and (sha256 not in all_settled or contents[sha256].reasons)]
        known = lookup(self._client, self._name, open_)
        for source, path, look in zip(batch.sources, batch.paths, batch.looks, strict=True):
            if look.sha256 is None:
                yield Job(source, None, None)
                continue
            entry, old = known.get(look.sha256), stale.get(path, [])
            settled = look.sha256 in all_settled
            if settled and old:
                delete(self._client, old)
            elif old:
                entry = replace(entry or Known(), stale=old)  # a copy: another photo can have the same content, but not this path
            if not look.remembered:
                self._pending[source.path] = look
            yield Job(source, look.sha256, entry, settled)

    def _is_settled(self, sha256: str, entry: Glimpse) -> bool:
        if self._is_doomed(sha256) or (self._again and entry.reasons):
            return False
        return entry.is_settled(self._detection)

    def _is_doomed(self, sha256: str) -> bool:
        return bool(self._doomed) and bytes.fromhex(sha256) in self._doomed

    def _move(self, batch: _Batch) -> None:
        """Gives photos whose stored path does not hold them any more the path and the person that they have now."""
        elsewhere: dict[str, Source] = {}
        for source, path, look in zip(batch.sources, batch.paths, batch.looks, strict=True):
            entry = batch.seen.contents.get(look.sha256) if look.sha256 is not None else None
            if entry is not None and entry.paths and path not in entry.paths and not self._is_doomed(str(look.sha256)):
                elsewhere.setdefault(str(look.sha256), source)
        if not elsewhere:
            return
        standing = self._standing(batch, elsewhere)
        lost = {sha256: source for sha256, source in elsewhere.items() if sha256 not in standing}
        if not lost:
            return
        updates, moved = [], set()
        for stored in self._now({"terms": {"image.sha256": sorted(lost)}}):
            if stored.sha256 in lost and stored.path in batch.seen.contents[stored.sha256].paths:  # else this run moved it already
                moved.add(stored.sha256)
                updates.append((stored.index, stored.id, _place(lost[stored.sha256])))
        update(self._client, updates)
        self.moved += len(moved)

    def _standing(self, batch: _Batch, hashes: Iterable[str]) -> set[str]:
        """Those of these contents that one of their stored paths still holds."""
        here = dict(zip(batch.paths, (look.sha256 for look in batch.looks), strict=True))
        standing: set[str] = set()
        unseen: dict[str, list[tuple[str, str]]] = {}  # file: the stored paths that can mean it, and the contents that it may hold
        for sha256 in hashes:
            for stored in batch.seen.contents[sha256].paths:
                if stored in here:
                    standing |= {sha256} if here[stored] in (sha256, None) else set()
                elif self._stood.get(stored) == sha256 or not presence.files(stored):
                    standing.add(sha256)
                else:
                    for file in presence.files(stored):
                        unseen.setdefault(file, []).append((stored, sha256))
        for wanted, look in zip(unseen.values(), self._files.look(list(unseen)), strict=True):
            for stored, sha256 in wanted:
                # What is there but can't be read may hold it.
                if look.sha256 == sha256 or (look.sha256 is None and not presence.is_gone(stored)):
                    standing.add(sha256)
                    self._stood[stored] = sha256
        if len(self._stood) > _STOOD:
            self._stood.clear()
        return standing

    def _stale(self, batch: _Batch) -> dict[str, list[tuple[str, str]]]:
        """By path: the index and id of whatever else is stored under the path of a photo."""
        now = {
            path: look.sha256
            for path, look in zip(batch.paths, batch.looks, strict=True)
            if look.sha256 is not None and batch.stale(path, look.sha256)
        }
        stale: dict[str, list[tuple[str, str]]] = {}
        if not now:
            return stale
        contents: set[str] = set()
        for stored in self._now({"terms": {"image.path": sorted(now)}}):
            if stored.path in now and stored.sha256 != now[stored.path]:
                stale.setdefault(stored.path, []).append((stored.index, stored.id))
                contents |= {stored.sha256} if stored.sha256 else set()
        self._doomed |= {bytes.fromhex(sha256) for sha256 in contents}
        self.replaced += len(contents)
        return stale

    def _now(self, query: dict[str, Any]) -> Iterator[_Stored]:
        """The documents that match a query, each as it is now: a search alone may not see what was written a moment ago."""
        hits = scan(self._client, [alias(self._name), rejects_alias(self._name)], query, [])
        while some := list(itertools.islice(hits, _LARGEST)):
            yield from self._got(some)

    def _got(self, hits: Sequence[dict[str, Any]]) -> Iterator[_Stored]:
        wanted = [{"_index": hit["_index"], "_id": hit["_id"], "_source": ["image.path", "image.sha256"]} for hit in hits]
        with speaking():
            documents = self._client.mget(docs=wanted)["docs"]
        for found in documents:
            if found.get("found"):
                image = found["_source"]["image"]
                yield _Stored(found["_index"], found["_id"], image["path"], image.get("sha256"))


def _place(source: Source) -> dict[str, Any]:
    """What a move changes. Not knowing the person is no reason to forget who it was."""
    place: dict[str, Any] = {"image": {"path": text(source.path)}}
    if source.person is not None:
        place["person"] = text(source.person)
    if source.labels:
        place["labels"] = dict(source.labels)
    return place
