"""What a run has to do with each photo, given what the collection holds: skip, move, replace, or look at it.

Photos are known by their content. One whose stored path does not hold it any more is *moved*: its path and person are updated where they
are. What is stored under a path that has another content now is *stale*, and goes when the new content comes.

Photos are hashed and asked for a batch ahead of those that are looked at. What a glance shows may be older than what this run wrote, so
before something is changed, the documents themselves are read (in real time, unlike searches).
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import EngineError
from es.documents import alias, rejects_alias
from es.scan import Document, current, delete, scan, update
from ingest import presence
from ingest.ahead import ahead
from ingest.contents import Contents
from ingest.fingerprints import Fingerprints, Look
from ingest.glance import Glance, Glimpse, glance
from ingest.known import Known, lookup
from ingest.writer import text

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from photos.sources import Source

# Photos asked for at once: many where all of them are remembered, few where each has to be read before the first one is looked at.
_SMALLEST, _LARGEST = 256, 2048
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
        self._pending: dict[str, Look] = {}  # photos on their way, to be remembered once they are stored
        self._stood: dict[str, str] = {}  # stored paths, and the content that they still held when this run looked
        self._doomed = Contents()  # whose documents go in this run, because their path has another content now
        self._stored = Contents()  # by this run: searches may not see them yet
        self.seconds = 0.0  # spent on waiting for what was read and asked
        self.moved = 0  # photos
        self.renamed = 0  # photos at their place whose person or labels are others now
        self.replaced = 0  # photos whose old content was stored
        self.outdated = 0  # documents of known photos that should have gone, which this user may not delete

    def jobs(self, sources: Iterable[Source]) -> Generator[Job]:
        """Each source, in order, with what is to be done with it. What the sources raise comes after what they gave."""
        # A thread reads files, another asks Elasticsearch, this one decides: each is a batch ahead of the next.
        with closing(ahead(self._asked(ahead(self._read(iter(sources)), "read")), "ask")) as batches:
            while True:
                begun = time.perf_counter()
                batch = next(batches, None)
                self.seconds += time.perf_counter() - begun
                if batch is None:
                    return
                yield from self._decided(batch)

    def done(self, source: Source, sha256: str | None, *, has_faces: bool = False, is_reconciled: bool = True) -> None:
        """Notes that a photo is stored (or its reject is), with the content that was looked at, and nothing else of it."""
        if has_faces and sha256 is not None:
            self._stored.add(sha256)
        look = self._pending.pop(source.path, None) if self._pending else None
        if look is not None and look.sha256 == sha256 and is_reconciled:
            self._files.remember(source.path, look)

    def _read(self, sources: Iterator[Source]) -> Generator[_Batch]:
        size, error = _SMALLEST, None
        while error is None:
            some, error = _taken(sources, size)
            if not some:
                break
            looks = self._look(some)
            paths = [text(source.path) for source in some]
            unknown = {path for path, look in zip(paths, looks, strict=True) if look.sha256 is not None and not look.remembered}
            size = min(2 * size, _LARGEST) if 4 * len(unknown) < len(some) else _SMALLEST
            yield _Batch(some, paths, looks, unknown)
        if error is not None:
            raise error

    def _look(self, some: Sequence[Source]) -> list[Look]:
        """What each photo contains. Only files can be remembered; parts of archives and addresses are read."""
        kept = [source for source in some if source.kept_in is None]
        files = iter(self._files.look([source.path for source in kept], [_said(source) for source in kept]))
        others = self._files.read([source.kept_in for source in some if source.kept_in is not None])
        return [next(files if source.kept_in is None else others) for source in some]

    def _asked(self, batches: Generator[_Batch]) -> Generator[_Batch]:
        with closing(batches):
            for batch in batches:
                hashes = [look.sha256 for look in batch.looks if look.sha256 is not None]
                batch.seen = glance(self._client, self._name, hashes, list(batch.unknown))
                yield batch

    def _decided(self, batch: _Batch) -> Iterator[Job]:
        self._move(batch)
        self._rename(batch)
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
            stored = look.sha256 in self._stored and look.sha256 not in self._doomed
            settled = stored or look.sha256 in all_settled
            is_reconciled = True
            if settled and old:
                is_reconciled = self._delete(old)
            elif old:
                entry = replace(entry or Known(), stale=old)  # a copy: another photo can have the same content, but not this path
            if not look.remembered and is_reconciled:
                self._pending[source.path] = look
            yield Job(source, look.sha256, entry, settled)

    def _delete(self, stale: list[Document]) -> bool:
        """Deletes documents, if the user may; else the next run sees to them again."""
        try:
            delete(self._client, stale)
        except EngineError as error:
            if error.code != "forbidden":
                raise
            self.outdated += len(stale)
            return False
        return True

    def _is_settled(self, sha256: str, entry: Glimpse) -> bool:
        if sha256 in self._doomed or (self._again and entry.reasons):
            return False
        return entry.is_settled(self._detection)

    def _move(self, batch: _Batch) -> None:
        """Gives photos whose stored path does not hold them any more the path and the person that they have now."""
        elsewhere: dict[str, Source] = {}
        for source, path, look in zip(batch.sources, batch.paths, batch.looks, strict=True):
            entry = batch.seen.contents.get(look.sha256) if look.sha256 is not None else None
            if entry is not None and entry.paths - {path} and str(look.sha256) not in self._doomed:
                elsewhere.setdefault(str(look.sha256), source)
        # A move that was cut off leaves some faces of a photo here, some there.
        away = {(sha256, path) for sha256, source in elsewhere.items() for path in batch.seen.contents[sha256].paths - {text(source.path)}}
        lost = away - self._standing(batch, away) if away else away
        if not lost:
            return
        updates, moved = [], set()
        for document in self._now({"terms": {"image.sha256": sorted({sha256 for sha256, _ in lost})}}):
            sha256, path = _content(document), document.source["image"]["path"]
            if (sha256, path) in lost:  # else somebody moved it already
                updates.append((document, _place(elsewhere[str(sha256)])))
                moved.add(sha256)
        update(self._client, updates)
        self.moved += sum(bool(batch.seen.contents[str(sha256)].faces) for sha256 in moved)

    def _rename(self, batch: _Batch) -> None:
        """Gives photos that are where they were the person and the labels that they have now, as a corrected list has them."""
        wanted: dict[str, Source] = {}
        for source, path, look in zip(batch.sources, batch.paths, batch.looks, strict=True):
            entry = batch.seen.contents.get(look.sha256) if look.sha256 is not None else None
            # What labels are stored is not seen at a glance, but remembered.
            news = (source.labels and not look.remembered) or (entry is not None and _is_new(source.person, entry.people))
            if entry is not None and path in entry.paths and news:
                wanted[str(look.sha256)] = source
        if not wanted:
            return
        updates, renamed = [], set()
        for document in self._now({"terms": {"image.sha256": sorted(wanted)}}, "person", "labels"):
            sha256 = str(_content(document))
            place = _place(wanted[sha256])
            if document.source["image"]["path"] == place["image"]["path"] and not _says(document.source, place):
                updates.append((document, place))
                renamed.add(sha256)
        update(self._client, updates)
        self.renamed += sum(bool(batch.seen.contents[sha256].faces) for sha256 in renamed)

    def _standing(self, batch: _Batch, away: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of these contents and stored paths where the path still holds the content."""
        here = dict(zip(batch.paths, (look.sha256 for look in batch.looks), strict=True))
        standing: set[tuple[str, str]] = set()
        unseen: dict[str, list[tuple[str, str]]] = {}  # file: the contents that it may hold, and the stored paths that can mean it
        for sha256, stored in away:
            if stored in here:
                standing |= {(sha256, stored)} if here[stored] in (sha256, None) else set()
            elif self._stood.get(stored) == sha256 or not presence.files(stored):
                standing.add((sha256, stored))
            else:
                for file in presence.files(stored):
                    unseen.setdefault(file, []).append((sha256, stored))
        for wanted, look in zip(unseen.values(), self._files.look(list(unseen)), strict=True):
            for sha256, stored in wanted:
                # What is there but can't be read may hold it.
                if look.sha256 == sha256 or (look.sha256 is None and not presence.is_gone(stored)):
                    standing.add((sha256, stored))
                    self._stood[stored] = sha256
        if len(self._stood) > _STOOD:
            self._stood.clear()
        return standing

    def _stale(self, batch: _Batch) -> dict[str, list[Document]]:
        """By path: whatever else is stored under the path of a photo."""
        now = {
            path: look.sha256
            for path, look in zip(batch.paths, batch.looks, strict=True)
            if look.sha256 is not None and batch.stale(path, look.sha256)
        }
        stale: dict[str, list[Document]] = {}
        if not now:
            return stale
        contents: set[str] = set()
        for document in self._now({"terms": {"image.path": sorted(now)}}):
            sha256, path = _content(document), document.source["image"]["path"]
            if path in now and sha256 != now[path]:
                stale.setdefault(path, []).append(document)
                contents |= {sha256} if sha256 else set()
        for sha256 in contents:
            self._doomed.add(sha256)
        self.replaced += len(contents)
        return stale

    def _now(self, query: dict[str, Any], *more: str) -> Iterator[Document]:
        """The documents that match a query, each as it is now: path and content, and more of it."""
        hits = scan(self._client, [alias(self._name), rejects_alias(self._name)], query, [])
        return current(self._client, hits, ["image.path", "image.sha256", *more])


def _taken(sources: Iterator[Source], size: int) -> tuple[list[Source], Exception | None]:
    """So many sources, or those that come before an error, and that."""
    some: list[Source] = []
    try:
        some.extend(itertools.islice(sources, size))
    except Exception as error:  # noqa: BLE001 - raised once these are done
        return some, error
    return some, None


def _said(source: Source) -> bytes:
    """A digest of a photo's labels."""
    if not source.labels:
        return b""
    return blake2b(json.dumps(sorted(source.labels.items())).encode(), digest_size=8).digest()


def _is_new(person: str | None, known: set[str | None]) -> bool:
    """Whether a person is another than the known ones. Not knowing who it is says nothing."""
    return person is not None and known != {text(person)}


def _says(stored: Mapping[str, Any], place: Mapping[str, Any]) -> bool:
    """Whether a document has this person and these labels. (Others that it has stay: a label that is not told is not denied.)"""
    labels = stored.get("labels") or {}
    return bool(stored.get("person") == place.get("person", stored.get("person")) and labels | place.get("labels", {}) == labels)


def _content(document: Document) -> str | None:
    sha256: str | None = document.source["image"].get("sha256")
    return sha256


def _place(source: Source) -> dict[str, Any]:
    """What a move changes. Not knowing the person is no reason to forget who it was."""
    place: dict[str, Any] = {"image": {"path": text(source.path)}}
    if source.person is not None:
        place["person"] = text(source.person)
    if source.labels:
        place["labels"] = {text(name): text(value) for name, value in source.labels.items()}
    return place
