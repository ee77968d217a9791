"""Is there a way back?"""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import FacedexError
from core.findings import Finding
from es import snapshots
from es.client import speaking
from es.doctor.cluster import Cluster

_OLD_DAYS = 7.0
_REMEDY = "facedex snapshot create, or facedex snapshot schedule --daily 02:30"


def backups(cluster: Cluster) -> Iterator[Finding]:
    """How old the newest whole snapshot of each collection is."""
    if not cluster.collections:
        yield Finding("snapshots", "ok", "There is nothing yet to make a snapshot of.")
        return
    with speaking():
        repositories = sorted(cluster.client.snapshot.get_repository(name="_all").body)
    ages: dict[str, float] = {}
    found = []
    for repository in repositories:
        try:
            whole = [each for each in snapshots.all_of(cluster.client, repository) if each.state == "SUCCESS"]
        except FacedexError as error:
            remedy = f"POST _snapshot/{repository}/_verify, and look after its storage"
            found.append(Finding("snapshots", "warning", f"The repository {repository} can't be read: {error}", "", remedy))
            continue
        for each in whole:
            for name in each.collections:
                ages[name] = min(each.age_days, ages.get(name, each.age_days))
    without = [each.name for each in cluster.collections if each.name not in ages]
    old = [each.name for each in cluster.collections if ages.get(each.name, 0) > _OLD_DAYS]
    for names, what in ((without, "No snapshot holds"), (old, f"No snapshot of the last {_OLD_DAYS:.0f} days holds")):
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")  # noqa: PLR2004
            found.append(Finding("snapshots", "notice", f"{what} {shown}.", "What is deleted or breaks can't be brought back.", _REMEDY))
    yield from found or [Finding("snapshots", "ok", "Every collection is in a snapshot of the last days.")]
