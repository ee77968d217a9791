"""Facedex from Python: what ``import facedex`` gives, put together from the rooms as the commands are. See docs/python.md."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack
from weakref import finalize

from core.errors import EngineError, PhotoError, UsageError
from core.settings import settings
from core.terminal import DEFAULT_COLLECTION
from core.web import Limits
from es import client as connection
from es import collections
from es.access import Named, named
from es.operations_kept import Kept
from faces.agreement import agreed
from faces.quality import gate
from faces.recipe import DEFAULT, resolve, spelled
from query import deepface_find, filters, given, knn, targets
from query.combine import combined
from query.search import DEFAULT_PEOPLE, Searcher, meaning_of, searcher
from query.verify import Verdict
from query.verify import verify as judge

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from elasticsearch import Elasticsearch

    from faces.recipe import Recipe
    from ingest.report import Report
    from photos.sources import PersonFrom, Source
    from query.answers import Answer
    from query.deepface_find import FindOptions
    from query.given import PhotoLike, SearchOptions
    from query.targets import Target
    from workers.executors import Embedder

__all__ = ["Collection", "find", "open", "verify"]

log = logging.getLogger("facedex")


def open(  # noqa: A001 - read as facedex.open
    name: str = DEFAULT_COLLECTION,
    *,
    create: bool = False,
    model: str | None = None,
    detector: str | None = None,
    **access: Unpack[Named],
) -> Collection:
    """Opens a collection. Without a ``url``, here or in ELASTICSEARCH_URL, Facedex's own node is started where it isn't running.

    Args:
        name: the collection.
        create: makes the collection if it isn't there.
        model: DeepFace's name of the model; refused unless the collection was made with it.
        detector: DeepFace's name of the detector, likewise.
        access: the Elasticsearch to use: ``url`` (several with commas), ``api_key`` or ``username`` and ``password``, ``ca_certs`` or
            ``ca_fingerprint``. What is not given comes from the settings.

    Raises:
        CollectionError: there is no such collection (``no_collection``).
        UsageError: the Elasticsearch is not safe to use (``insecure``).
        RecipeMismatch: it was made with another recipe.
        EngineError: Elasticsearch can't be started or reached.
    """
    url = access.get("url")
    client = connection.connect(named(settings(), access), log.info)
    try:
        found = collections.find(client, name)
        if found is None and create:
            found = collections.ensure(client, name, resolve(model or DEFAULT.model, detector or DEFAULT.detector).as_dict())
        found = found or collections.get(client, name)  # which says what there is
        return Collection(client, found, agreed(name, found.recipe, model=model, detector=detector))
    except BaseException as error:
        client.close()
        if url is not None and isinstance(error, EngineError) and error.code == "unreachable":
            raise EngineError(f"There is no Elasticsearch at {connection.without_secrets(url)}: check the url.", code=error.code) from None
        raise


class Collection:
    """An open collection. Its methods can be called from any thread; photos are looked at one at a time, or in worker processes.

    Photos are given as paths or addresses, bytes, files opened in binary mode, arrays ((height, width, 3) uint8 in BGR, as OpenCV and
    DeepFace have them) or base64 texts that begin with ``data:image/``.
    """

    def __init__(self, client: Elasticsearch, found: collections.Collection, recipe: Recipe) -> None:
        self.name = found.name
        self.recipe = recipe
        self._client = client
        self._meaning = meaning_of(client, found, recipe, log.warning)
        self._depth = knn.depth(found)
        self._kept = Kept(client, found.name)
        finalize(self, self._kept.flush)  # also where nobody closes it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<facedex.Collection {self.name} ({self.recipe.model}, {self.recipe.detector})>"

    def close(self) -> None:
        """Closes the connection. (Facedex's own node goes on, and stops when it is idle.)"""
        self._kept.flush()
        self._client.close()

    def __len__(self) -> int:
        """How many faces it holds."""
        return collections.count(self._client, collections.get(self._client, self.name))["faces"]

    def __bool__(self) -> bool:
        return True  # also without faces

    def search(self, photo: PhotoLike, *, min_face: int = 80, **options: Unpack[SearchOptions]) -> Answer:
        """Who is on a photo: for every face in it the people it could be, best first.

        Args:
            photo: one photo.
            min_face: width in pixels from which faces are looked for.
            options: how to search: ``top``, ``where`` and so on, see :class:`SearchOptions`.

        Raises:
            PhotoError: the photo can't be used, or has no face (``no_face``).
            UsageError: what is asked for is not understood.
            EngineError: Elasticsearch can't be reached or refuses.
        """
        searching = self._searcher(**options)
        ((_, answer),) = searching.answers([_seen(photo, self.recipe, min_face)])
        return answer

    def search_many(
        self,
        photos: PhotoLike | Iterable[PhotoLike],
        *,
        min_face: int = 80,
        workers: int | None = None,
        **options: Unpack[SearchOptions],
    ) -> Iterator[Answer]:
        """The answers for many photos, in order, as they come; folders, archives and CSV lists among them stand for all their photos.

        A photo that can't be used has an answer with an ``error``, and the others go on. Many photos are looked at in ``workers``
        processes, by default one a core. The arguments and errors are otherwise those of :meth:`search`.
        """
        searching = self._searcher(**options)
        sources = given.many(photos, _limits())
        return self._answers(searching, sources, min_face, workers)

    def _answers(self, searching: Searcher, sources: Iterator[Source], min_face: int, workers: int | None) -> Iterator[Answer]:
        with closing(targets.looked_at(sources, self.recipe, min_face=min_face, workers=workers, here=_at_hand)) as seen:
            for _, answer in searching.answers(seen):
                yield answer

    def search_person(self, photos: Iterable[PhotoLike], *, min_face: int = 80, **options: Unpack[SearchOptions]) -> Answer:
        """Who the one person is whom all photos show: one answer, for the face that they share. Photos that can't be used are left out.

        The arguments and errors are otherwise those of :meth:`search`.

        Raises:
            UsageError: none of the photos has a face.
        """
        searching = self._searcher(**options)
        with closing(targets.looked_at(given.many(photos, _limits()), self.recipe, min_face=min_face, here=_at_hand)) as seen:
            together = combined(list(seen), self.recipe.threshold)
        ((_, answer),) = searching.answers([together])
        return answer

    def _searcher(
        self,
        *,
        top: int = DEFAULT_PEOPLE,
        where: Sequence[str] = (),
        since: datetime | None = None,
        min_quality: Sequence[str] = (),
        exact: bool = False,
    ) -> Searcher:
        least = gate(list(min_quality))
        clauses = filters.clauses(self._client, self.name, where, since, least)
        typed = [*where, *([f"since {since}"] if since else []), *min_quality]
        return searcher(
            self._client,
            self.name,
            self._meaning,
            exact=exact,
            depth=self._depth,
            people=top,
            filters=clauses,
            typed=typed,
            noted=self._kept.of(filters.fields(where, since, least), exact=exact),
        )

    def verify(self, photo: PhotoLike, other: PhotoLike, *, min_face: int = 80) -> Verdict:
        """Whether two photos show the same person, by the models of the collection; its faces have no say. See :func:`facedex.verify`."""
        return _verdict(self.recipe, photo, other, min_face)

    def ingest(
        self,
        sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        person: str | None = None,
        min_face: int = 80,
        anti_spoofing: bool = False,
        min_quality: Sequence[str] = (),
        thumbnails: bool = False,
        workers: int | None = None,
    ) -> Report:
        """Puts the faces of photos into the collection; photos that it holds already are skipped.

        Args:
            sources: folders, photos, archives, addresses; or CSV lists.
            person: ``folder`` names people by the folder of their photos, ``csv`` reads lists, ``none`` leaves them unnamed; by default
                ``csv`` where all sources are .csv files, else ``folder``.
            min_face: width in pixels from which faces are looked for.
            anti_spoofing: leave out faces that look like a picture of a picture.
            min_quality: leave out faces with less, such as ``sharpness=30``.
            thumbnails: store a small picture of each face.
            workers: processes, by default one a core; 0 for this process itself.

        Returns:
            What was stored, skipped and left out, and why. What was left out is noted in ``rejects_file``, and in the collection.

        Raises:
            UsageError: a source is not there.
            EngineError, StorageError: Elasticsearch is gone or full. What was stored stays, and the next call goes on from there.
        """
        from ingest.report import RejectsFile
        from ingest.run import Options, ingest
        from photos.sources import PersonFrom, check, is_list, photos
        from workers.executors import cores
        from workers.worker import Detection

        listed = [os.fspath(each) for each in ([sources] if isinstance(sources, str | os.PathLike) else sources)]
        named = _person(person) if person else PersonFrom.csv if all(map(is_list, listed)) else PersonFrom.folder
        check(listed, named, _limits())
        options = Options(
            Detection(min_face, anti_spoofing, gate(list(min_quality))),
            cores() if workers is None else workers,
            settings().max_pixels,
            thumbnails=thumbnails,
            remember=settings().data_dir / "seen",
        )
        with RejectsFile(self._rejects()) as rejects:
            return ingest(self._client, self.name, self.recipe, photos(listed, named, _limits()), rejects, options)

    def _rejects(self) -> Path:
        return settings().data_dir / "rejects" / f"{self.name}-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.jsonl"

    def find(
        self,
        img_path: PhotoLike,
        db_path: str | os.PathLike[str] | None = None,
        model_name: str | None = None,
        *,
        exact: bool = False,
        min_face: int = 80,
        **options: Unpack[FindOptions],
    ) -> list[pd.DataFrame]:
        """``DeepFace.find``: for each face of a photo a table of the stored faces within the threshold, the nearest first.

        The columns are DeepFace's, with its types; ``hash`` is the SHA-256 of the photo's content.

        Args:
            img_path: one photo.
            db_path: ingest this folder first, and search among its photos only; ``None`` for all of the collection as it is. Nothing is
                embedded twice. With ``refresh_database=False`` nothing is ingested.
            model_name: refused unless it is the collection's model; ``detector_backend`` likewise.
            exact: compare with every face, instead of asking the vector index.
            min_face: width in pixels from which faces are looked for.
            options: as of ``DeepFace.find``; what a collection can't honour is refused.

        Raises:
            UsageError: something can't be honoured (``not_honoured``).
            RecipeMismatch: another model or detector is asked for.
            PhotoError: the photo can't be used, or has no face, unless ``enforce_detection=False``: then the one table is empty.
            EngineError: Elasticsearch can't be reached or refuses.
        """
        mine = (self.recipe.model, self.recipe.detector)
        if spelled(model_name or mine[0], options.get("detector_backend") or mine[1]) != mine:
            agreed(self.name, self.recipe.as_dict(), model=model_name, detector=options.get("detector_backend"))  # says what differs
        deepface_find.check(options, self.recipe)
        if db_path is not None and options.get("refresh_database", True):
            self.ingest(db_path, min_face=min_face)
        clauses, renamed = ([], {}) if db_path is None else deepface_find.below(os.fspath(db_path))
        threshold = self._meaning.threshold
        try:
            target = _seen(img_path, self.recipe, min_face, anti_spoofing=options.get("anti_spoofing", False))
        except PhotoError as error:
            if error.code != "no_face" or options.get("enforce_detection", True):
                raise
            return [deepface_find.nobody(threshold, self.recipe)]
        faces = target.faces
        return deepface_find.tables(
            self._client,
            self.name,
            self.recipe,
            faces,
            threshold,
            options,
            depth=None if exact else self._depth,
            filters=clauses,
            renamed=renamed,
            noted=self._kept.of(["image.path"] if db_path else [], exact=exact),
        )


class _FindAnywhere(deepface_find.FindOptions, Named, total=False):
    """The options of :meth:`Collection.find`, and which Elasticsearch to use."""


def find(
    img_path: PhotoLike,
    db_path: str | os.PathLike[str] | None = None,
    model_name: str | None = None,
    *,
    collection: str = DEFAULT_COLLECTION,
    exact: bool = False,
    min_face: int = 80,
    **options: Unpack[_FindAnywhere],
) -> list[pd.DataFrame]:
    """``DeepFace.find`` in one call: opens a collection, asks it and closes it. See :meth:`Collection.find`, and :func:`open`.

    With a ``db_path``, the collection is made if it isn't there, by ``model_name`` and ``detector_backend``.
    """
    model, detector = model_name, options.get("detector_backend")
    rest: Any = dict(options)
    access: Any = {key: rest.pop(key) for key in Named.__annotations__ if key in rest}
    with open(collection, create=db_path is not None, model=model, detector=detector, **access) as opened:
        return opened.find(img_path, db_path, model_name, exact=exact, min_face=min_face, **rest)


def verify(
    photo: PhotoLike, other: PhotoLike, *, model: str = DEFAULT.model, detector: str = DEFAULT.detector, min_face: int = 80
) -> Verdict:
    """Whether two photos show the same person: their closest pair of faces decides. Needs no Elasticsearch.

    Args:
        photo: one photo.
        other: another.
        model: DeepFace's name of the recognition model.
        detector: DeepFace's name of the face detector.
        min_face: width in pixels from which faces are looked for.

    Raises:
        PhotoError: one of them can't be used, or has no face (``no_face``).
        ModelError: the models can't be had.
    """
    return _verdict(resolve(model, detector), photo, other, min_face)


def _verdict(recipe: Recipe, photo: PhotoLike, other: PhotoLike, min_face: int) -> Verdict:
    first, second = (list(_seen(each, recipe, min_face).faces) for each in (photo, other))
    return judge(recipe, first, second)


def _seen(photo: PhotoLike, recipe: Recipe, min_face: int, **more: Any) -> Target:
    """One photo with its faces.

    Raises:
        PhotoError: it can't be used.
    """
    source = given.one(photo, _limits())
    (target,) = targets.looked_at([source], recipe, min_face=min_face, here=_at_hand, **more)
    if target.error is not None:
        code, message = target.error
        raise PhotoError(f"{target.name}: {message}", code=code)
    return target


@lru_cache(maxsize=4)
def _at_hand(recipe: Recipe, *, min_face: int, anti_spoofing: bool) -> Embedder:
    """The models of this process, loaded once."""
    return targets.in_this_process(recipe, min_face=min_face, anti_spoofing=anti_spoofing)


def _person(word: str) -> PersonFrom:
    from photos.sources import PersonFrom

    if word not in list(PersonFrom):
        raise UsageError(f"person={word!r} is not understood: use {', '.join(PersonFrom)}.")
    return PersonFrom(word)


def _limits() -> Limits:
    return Limits(settings().web_seconds, settings().allow_private_addresses)
