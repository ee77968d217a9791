"""The record of a cluster of ours, and its secrets: what is below ``data_dir/cluster``, a folder that only its owner can enter.

``cluster.json`` says what was started and where, ``password`` is its administrator's, ``ca.crt`` and ``ca.key`` are its certificate
authority (kept, so that nodes can be added), ``files/<node>`` holds what goes into a node's configuration. Every command looks here when
it connects, so what makes certificates is imported only to make some.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import StorageError
from es.cluster.plan import ADMINISTRATOR, Kind, Plan
from es.local import places

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
    port: int
    urls: tuple[str, ...] = ()  # of all nodes; empty until they were all up once

    @property
    def plan(self) -> Plan:
        """What it is to be."""
        return Plan(self.folder, self.nodes, self.heap, self.port)

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
        return Record(place, fields["kind"], fields["nodes"], fields["heap"], fields["port"], tuple(fields["urls"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, KeyError, TypeError):
        raise StorageError(f"The record {path} of Facedex's cluster is damaged: put it right, or remove {place}.") from None


def write(record: Record) -> None:
    """Notes what was started."""
    from es.security.file_realm import private

    fields = {key: value for key, value in asdict(record).items() if key != "folder"}
    make_folder(record.folder)
    private(record.folder / "cluster.json", json.dumps(fields, indent=2) + "\n")


def note_urls(record: Record, urls: tuple[str, ...]) -> Record:
    """Notes where the nodes are; the record as it is then."""
    noted = replace(record, urls=urls)
    if noted != record:
        write(noted)
    return noted


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

    What is there stays: a node that is added later gets a certificate of the same authority, and the same password.

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
    if not certificate.exists() or not key.exists():
        made = certificates.authority("Facedex cluster")
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
        if not (place / "node.crt").exists() or not (place / "node.key").exists():
            pair = certificates.node_certificate(signer, node, [node, "localhost", "127.0.0.1", "::1"])
            file_realm.private(place / "node.key", pair.key)
            file_realm.private(place / "node.crt", pair.certificate)
        if not (place / "users").exists():
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
