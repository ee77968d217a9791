"""`facedex doctor`: what all rooms have to say about this machine, the engine and the collections."""

from __future__ import annotations

from typing import Any

from core.errors import FacedexError
from core.findings import Finding, show_findings, worst
from core.settings import settings
from core.terminal import DONE, INCOMPLETE, print_json, say


def run(collection: str | None, *, fix: bool, json: bool) -> int:
    """Looks at everything, prints what was found, and returns the exit code.

    Raises:
        FacedexError: the engine can't be reached; what is wrong with this machine, which may be why, was printed or is in the details.
    """
    import faces.doctor
    from es.doctor import examine

    found = [*faces.doctor.examine(), *examine.of_machine(settings())]
    try:
        found = [*_engine(collection, fix=fix), *found]
    except FacedexError as error:
        error.details = _document(found)
        if not json:
            show_findings(found)
        raise
    if json:
        print_json(_document(found))
    else:
        show_findings(found)
    return DONE if worst(found) in ("ok", "notice") else INCOMPLETE


def _document(found: list[Finding]) -> dict[str, Any]:
    return {"worst": worst(found), "findings": [each.as_dict() for each in found]}


def _engine(collection: str | None, *, fix: bool) -> list[Finding]:
    from es import client as connection
    from es.doctor import examine
    from es.doctor.cluster import Cluster

    with connection.connect(settings(), say) as client:
        found = examine.of_cluster(Cluster(client, settings(), collection))
        fixable = [each for each in found if each.fix] if fix else []
        for each in fixable:
            say(f"Puts right: {each.what}")
            assert each.fix is not None  # noqa: S101  for mypy
            each.fix()
        return examine.of_cluster(Cluster(client, settings(), collection)) if fixable else found
