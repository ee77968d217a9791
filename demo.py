"""``facedex demo``: everything once, on a handful of portraits that come with a package on the registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import EngineError, StorageError
from core.settings import settings
from core.terminal import number_of, print_json, say, show

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from faces.recipe import Recipe

COLLECTION = "demo"
PAGE = Path("facedex-demo.html")
# The test images of face_recognition 1.3.0 (MIT licence): official portraits. (32bit.png is the target once more, so it is left out.)
PACKAGE, SHA256 = "face_recognition==1.3.0", "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec"
PEOPLE = {
    "Barack Obama": ("obama.jpg", "obama3.jpg", "obama_partial_face.jpg", "obama_partial_face2.jpg"),
    "Joe Biden": ("biden.jpg",),
}
TARGET = "obama2.jpg"


def run(*, json: bool) -> bool:
    """Brings the portraits, ingests all but one, and searches for that one; says whether somebody was found.

    Raises:
        EngineError: the portraits can't be brought (code ``download``), or Elasticsearch can't be started.
    """
    from es import client as connection
    from es.collections import get
    from photos.places import File
    from photos.sources import Source
    from query.crops import card
    from query.page import write
    from query.search import meaning_of, searcher
    from query.tables import meaning, tables
    from query.targets import looked_at

    photos = portraits()
    target = (photos / TARGET).read_bytes()
    with connection.connect(settings(), say) as client:
        recipe = _ingest(client, photos / "people")
        say(f"Searching for the person on {TARGET}, which was not ingested ...")
        searching = searcher(client, COLLECTION, meaning_of(client, get(client, COLLECTION), recipe))
        ((_, answer),) = searching.answers(looked_at([Source(TARGET, kept_in=File(str(photos / TARGET)))], recipe))
    write(PAGE, [card(answer, target, settings().max_pixels)], recipe)
    if json:
        print_json(answer.as_dict())
    else:
        show(*tables(answer), meaning(answer) or "")
    me = os.path.relpath(sys.argv[0]) if Path(sys.argv[0]).name == "facedex" and shutil.which("facedex") is None else "facedex"
    say(f"Open {PAGE} to see the faces. Next: {me} ingest FOLDER, then {me} search PHOTO; {me} down stops Elasticsearch.")
    return answer.found


def _ingest(client: Elasticsearch, people: Path) -> Recipe:
    from es.collections import create, find
    from faces.agreement import agreed
    from faces.recipe import resolve
    from ingest.report import RejectsFile
    from ingest.run import Options, ingest
    from photos.sources import PersonFrom, photos

    found = find(client, COLLECTION)
    recipe = agreed(COLLECTION, found.recipe, model="Dlib", detector="dlib") if found else resolve()
    if found is None:
        create(client, COLLECTION, recipe.as_dict())
    say("Ingesting portraits, a folder a person ...")
    with RejectsFile(settings().data_dir / "rejects" / f"{COLLECTION}.jsonl") as rejects:
        report = ingest(client, COLLECTION, recipe, photos([people], PersonFrom.folder), rejects, Options(workers=1))
    say(f"{number_of(report.faces, 'face')} stored, {number_of(report.skipped, 'photo')} skipped, there already.")
    return recipe


def portraits() -> Path:
    """The folder of the portraits: ``people/<person>/`` and the target. Brought once into the cache.

    Raises:
        EngineError: they can't be brought (code ``download``).
        StorageError: the cache can't be written.
    """
    folder = settings().cache_dir / "demo"
    if (folder / TARGET).exists():
        return folder
    say(f"Bringing portraits from the package {PACKAGE} ...")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            ready = _arrange(_unpack(_download(Path(scratch)), Path(scratch)), Path(scratch) / "ready")
            shutil.rmtree(folder, ignore_errors=True)
            ready.rename(folder)
    except OSError as error:
        raise StorageError.of(error, f"write to {folder}", "Choose another folder with FACEDEX_CACHE_DIR.") from None
    return folder


def _download(scratch: Path) -> Path:
    # With the hash in the requirement, pip checks the archive before it runs anything in it.
    requirement = scratch / "requirements.txt"
    requirement.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:"]
    command += ["--require-hashes", "--dest", str(scratch), "--requirement", str(requirement)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = next(scratch.glob("*.tar.gz"), None)
    if done.returncode != 0 or archive is None:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EngineError(f"The demo's portraits can't be brought with pip ({last[:200]}): check the network.", code="download")
    return archive


def _unpack(archive: Path, scratch: Path) -> Path:
    images = scratch / "images"
    images.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if "/tests/test_images/" in member.name and (file := tar.extractfile(member)):
                (images / Path(member.name).name).write_bytes(file.read())
    return images


def _arrange(images: Path, ready: Path) -> Path:
    for person, names in PEOPLE.items():
        (ready / "people" / person).mkdir(parents=True)
        for name in names:
            (images / name).rename(ready / "people" / person / name)
    (images / TARGET).rename(ready / TARGET)
    return ready
