"""The record of a cluster of ours, and its secrets: what is below ``data_dir/cluster``, a folder that only its owner can enter.

``cluster.json`` says what was started and where, ``password`` is its administrator's, ``ca.crt`` and ``ca.key`` are its certificate
authority (kept, so that nodes can be added), ``files/<node>`` holds what goes into a node's configuration. Every command looks here when
it connects, so what makes certificates is imported only to make some.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import EngineError, StorageError
from es.cluster.plan import ADMINISTRATOR, Kind, Plan
from es.local import locks, places

if TYPE_CHECKING:
    from core.settings import Settings

_REMEDY = "Free it, or set FACEDEX_DATA_DIR to another place."


@dataclass(frozen=True)
class Record:
    """A cluster that was begun."""

    folder: Path
    kind: Kind
    nodes: int
    heap: str
    urls: tuple[str, ...] = ()  # of all nodes; empty until they were all up once

    @property
    def plan(self) -> Plan:
        """What it is to be."""
        return Plan(self.folder, self.nodes, self.heap)

    @property
    def ca(self) -> Path:
        """The certificate of its authority."""
        return self.folder / "ca.crt"

    @property
    def password(self) -> str:
        """Its administrator's.

        Raises:
            StorageError: the file can't be read.
        """
        try:
            return (self.folder / "password").read_text().strip()
        except OSError as error:
            raise _unreadable(self.folder / "password", error) from None


def folder(settings: Settings) -> Path:
    """Where the cluster of these settings is, or will be."""
    return places.absolute(settings.data_dir) / "cluster"


def read(settings: Settings) -> Record | None:
    """The cluster of these settings, if there is one.

    Raises:
        StorageError: its record can't be read.
    """
    place = folder(settings)
    path = place / "cluster.json"
    try:
        fields = json.loads(path.read_text())
        return Record(place, fields["kind"], fields["nodes"], fields["heap"], tuple(fields["urls"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, KeyError, TypeError):
        raise StorageError(f"The record {path} of Facedex's cluster is damaged: put it right, or remove {place}.") from None


def in_use(settings: Settings) -> Record | None:
    """The cluster that commands use: the one of these settings, once it was up. Until then, nothing can be in it.

    Raises:
        StorageError: its record can't be read.
    """
    found = read(settings)
    return found if found is not None and found.urls else None


def write(record: Record) -> None:
    """Notes what was started."""
    from es.security.file_realm import private

    fields = {key: value for key, value in asdict(record).items() if key != "folder"}
    make_folder(record.folder)
    path = record.folder / "cluster.json"
    try:
        private(path, json.dumps(fields, indent=2) + "\n")
    except OSError as error:
        raise StorageError.of(error, f"write {path}", _REMEDY) from None


def note_urls(record: Record, urls: tuple[str, ...]) -> Record:
    """Notes where the nodes are; the record as it is then."""
    noted = replace(record, urls=urls)
    if noted != record:
        write(noted)
    return noted


@contextmanager
def alone(settings: Settings, *, seconds: float) -> Iterator[None]:
    """While no other command starts, stops or removes the cluster. The lock is beside its folder, which may be removed meanwhile.

    Raises:
        EngineError: another one took too long (``engine_start``).
        StorageError: the lock can't be made.
    """
    place = folder(settings)
    places.make_folder(place.parent)
    lock = place.with_name("cluster.lock")
    try:
        held = locks.take(lock, seconds=seconds)
    except TimeoutError:
        raise EngineError(
            "Another command has been starting or stopping the cluster for too long: end it, then run this again.", code="engine_start"
        ) from None
    except OSError as error:
        raise StorageError.of(error, f"write {lock}", _REMEDY) from None
    try:
        yield
    finally:
        os.close(held)


def make_folder(place: Path) -> None:
    """A folder that only its owner can enter."""
    places.make_folder(place.parent)
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        place.chmod(0o700)
    except OSError as error:
        raise StorageError.of(error, f"make the folder {place}", _REMEDY) from None


def prepare(plan: Plan) -> None:
    """Makes what is missing: the authority, the administrator's password, and for each node the files of its configuration.

    What is there stays: a node that is added later gets a certificate of the same authority, and the same password. Certificates that
    end soon are made anew; the authority keeps its key, so that nodes with old ones and with new ones trust each other.

    Raises:
        StorageError: the folder can't be written.
    """
    make_folder(plan.folder)
    try:
        _prepare(plan)
    except OSError as error:
        raise StorageError.of(error, f"write to {plan.folder}", _REMEDY) from None


def _prepare(plan: Plan) -> None:
    from es.security import certificates, file_realm

    certificate, key, password = (plan.folder / name for name in ("ca.crt", "ca.key", "password"))
    kept = key.read_text() if certificate.exists() and key.exists() else None
    is_new = kept is None or certificates.is_ending(certificate.read_text())
    if is_new:
        made = certificates.authority("Facedex cluster", kept)
        file_realm.private(key, made.key)
        file_realm.private(certificate, made.certificate)
    if not password.exists():
        file_realm.private(password, file_realm.new_password() + "\n")
    signer = certificates.Pair(certificate.read_text(), key.read_text())
    user = file_realm.User(ADMINISTRATOR, password.read_text().strip(), ("superuser",))
    make_folder(plan.folder / "files")
    for node in plan.names:
        place = plan.files(node)
        make_folder(place)
        file_realm.private(place / "ca.crt", signer.certificate)
        ours = place / "node.crt"
        if is_new or not ours.exists() or not (place / "node.key").exists() or certificates.is_ending(ours.read_text()):
            ours.unlink(missing_ok=True)  # never beside the key of another
            pair = certificates.node_certificate(signer, node, [node, "localhost", "127.0.0.1", "::1"])
            file_realm.private(place / "node.key", pair.key)
            file_realm.private(ours, pair.certificate)
        if not all((place / name).exists() for name in file_realm.FILES):  # a full disk may have stopped it between two
            file_realm.write(place, [user])


def erase(record: Record) -> None:
    """Removes the record with all its secrets; the nodes themselves are gone by then."""
    import shutil

    try:
        (record.folder / "cluster.json").unlink(missing_ok=True)  # first: what is left of a removal that fails is no cluster
        shutil.rmtree(record.folder)
    except OSError as error:
        raise StorageError.of(error, f"remove {record.folder}", "Remove it by hand.") from None


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError.of(error, f"read {path}", "Let this user read it, or set FACEDEX_DATA_DIR to another place.")
