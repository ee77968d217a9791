"""What a refusal for lack of rights means: one sentence, with the role that is missing."""

from __future__ import annotations

import re
from typing import Any

_REASON = re.compile(r"action \[([^\[\]]+)(?:\[\w+\])?\] is unauthorized for (?:API key id \[[^\]]*\] of )?user \[([^\]]*)\]")
_INDICES = re.compile(r"on (?:restricted )?indices \[([^\]]*)\]")
# The right that an action needs, by how its name begins; the first that fits.
_RIGHTS = (
    ("indices:data/read/", "search"),
    ("indices:admin/get", "search"),
    ("indices:admin/mappings/", "search"),
    ("indices:admin/resolve/", "search"),
    ("indices:monitor/settings/get", "search"),
    ("indices:monitor/", "steward"),
    ("indices:data/write/delete", "steward"),
    ("indices:data/write/", "ingest"),
    ("indices:admin/refresh", "ingest"),
    ("indices:admin/forcemerge", "ingest"),
    ("indices:", "steward"),
    ("cluster:monitor/", "steward"),
    ("cluster:admin/snapshot/create", "steward"),
    ("cluster:admin/snapshot/get", "steward"),
    ("cluster:admin/snapshot/status", "steward"),
    ("cluster:admin/repository/get", "steward"),
)


def sentence(reason: str, right: str | None = None) -> str:
    """The sentence for an answer 403.

    Args:
        reason: what Elasticsearch says.
        right: which right it takes, where that is known better than the reason tells (of a bulk request).
    """
    found = _REASON.match(reason)
    if found is None:
        return f"Elasticsearch does not allow this to the given user ({reason or 'no reason was given'})."
    action, user = found.groups()
    right = right or next((right for beginning, right in _RIGHTS if action.startswith(beginning)), None)
    role = f"the role facedex_{right}, for all or for this collection" if right else "an administrator's rights"
    indices = _INDICES.search(reason)
    where = f" on {indices[1].replace(',', ', ')}" if indices else ""
    return f"Elasticsearch does not allow this to the user {user}{where}: it takes {role}; `facedex security whoami` shows what you may do."


def is_refusal(result: Any) -> bool:
    """Whether one operation of a bulk request was refused for lack of rights (and not because the index is blocked)."""
    return bool(result.get("status") == _FORBIDDEN and result.get("error", {}).get("type") == "security_exception")


_FORBIDDEN = 403
