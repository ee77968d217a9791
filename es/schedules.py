"""Snapshots made by the cluster itself, on a schedule: Elasticsearch's snapshot lifecycle management (SLM), where it has that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import EngineError, UsageError
from es.client import speaking
from es.documents import PREFIX

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

POLICY = "facedex"
_NOT_THERE = 400  # "no handler found for uri"
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_FIELDS = (6, 7)  # of Elasticsearch's cron expressions: seconds first, perhaps a year


@dataclass(frozen=True, slots=True)
class Schedule:
    """When snapshots are made, and how long they are kept."""

    cron: str  # Elasticsearch's, in UTC: seconds, minutes, hours, day of the month, month, day of the week
    keep_days: int
    repository: str

    @property
    def crontab(self) -> str:
        """A line for crontab that does the same without SLM (in the machine's own time zone)."""
        fields = self.cron.replace("?", "*").split()[1:6]
        return f"{' '.join(fields)} facedex snapshot create && facedex snapshot delete --older-than {self.keep_days}d --yes"


def cron(daily: str | None, expression: str | None) -> str:
    """The cron expression of what was asked for.

    Raises:
        UsageError: neither or both, or one that can't be read.
    """
    if (daily is None) == (expression is None):
        raise UsageError("Say when: --daily 02:30, or --cron '0 30 2 * * ?'.")
    if expression is not None:
        if len(expression.split()) not in _FIELDS:
            raise UsageError(
                f"{expression!r} is no cron expression of Elasticsearch, which begins with the seconds and has a ? for one of the days: "
                "'0 30 2 ? * MON' is half past two on Mondays."
            )
        return " ".join(expression.split())
    found = _TIME.fullmatch(daily or "")
    if found is None:
        raise UsageError(f"{daily!r} is no time of day: give it as 02:30.")
    return f"0 {int(found[2])} {int(found[1])} * * ?"


def is_available(client: Elasticsearch) -> bool:
    """Whether the cluster can make snapshots by itself.

    Raises:
        EngineError: it does not say.
    """
    from elasticsearch import ApiError

    with speaking():
        try:
            client.slm.get_status()
        except ApiError as error:
            if error.status_code in (_NOT_THERE, 404, 405):
                return False
            raise
    return True


def check(client: Elasticsearch, wished: Schedule | None) -> None:
    """Goes on only where the cluster can do it.

    Raises:
        EngineError: it can't (code ``no_slm``); the sentence has the line for crontab that does the same.
    """
    if is_available(client):
        return
    instead = f": put this line into crontab instead: {wished.crontab}" if wished else ", so nothing is scheduled in it."
    raise EngineError(f"This Elasticsearch has no snapshot lifecycle management (SLM){instead}", code="no_slm")


def put(client: Elasticsearch, wished: Schedule) -> None:
    """Sets the schedule; there is one."""
    from elasticsearch import BadRequestError

    with speaking():
        try:
            client.slm.put_lifecycle(
                policy_id=POLICY,
                name=f"<{PREFIX}{{now/d}}>",
                schedule=wished.cron,
                repository=wished.repository,
                config={
                    "indices": [f"{PREFIX}*", f"-{PREFIX}*--copy-*"],
                    "include_global_state": False,
                    "feature_states": ["none"],
                    "metadata": {"facedex": {}},
                },
                retention={"expire_after": f"{wished.keep_days}d"},
            )
        except BadRequestError as error:
            raise UsageError(f"Elasticsearch does not take this schedule ({wished.cron}): {_reason(error)}.") from None


def get(client: Elasticsearch) -> Schedule | None:
    """The schedule that there is."""
    from elasticsearch import NotFoundError

    with speaking():
        try:
            policy: dict[str, Any] = client.slm.get_lifecycle(policy_id=POLICY)[POLICY]["policy"]
        except NotFoundError:
            return None
    return Schedule(policy["schedule"], int(policy["retention"]["expire_after"].removesuffix("d")), policy["repository"])


def remove(client: Elasticsearch) -> bool:
    """Ends the schedule; the snapshots stay. Says whether there was one."""
    from elasticsearch import NotFoundError

    with speaking():
        try:
            client.slm.delete_lifecycle(policy_id=POLICY)
        except NotFoundError:
            return False
    return True


def _reason(error: Any) -> str:
    cause = error.body.get("error", {}) if isinstance(error.body, dict) else {}
    return str(cause.get("reason", error.error) if isinstance(cause, dict) else cause)[:200].rstrip(".")
