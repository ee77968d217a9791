"""While clients search and an ingest writes, each node in turn is stopped, killed or frozen: no search fails, no face is lost."""

from __future__ import annotations

import os
import random
import sys

from elasticsearch import Elasticsearch

from bench import disturb
from es.cluster import processes
from es.cluster.record import Record
from es.collections import delete, get

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10_000))
NAME = "disturbed"
REST = 0.05  # seconds between the searches of a client: without them, the nodes that are to come back get no processor


def test_no_search_fails_and_no_face_is_lost(cluster: Record, nodes: Elasticsearch) -> None:
    sys.stdout.write(f"CHAOS_SEED={SEED}\n")  # shown when the test fails
    actions = random.Random(SEED).sample(disturb.ACTIONS, len(disturb.ACTIONS))  # each once, each on another node
    disturb.whole(nodes, 3)
    disturb.fill(nodes, NAME)
    try:
        tally = disturb.Tally()
        with disturb.clients(NAME, tally, rest=REST):
            for what, member in zip(actions, processes.members(cluster.plan), strict=True):
                disturb.disturb(nodes, disturb.LocalActions(cluster.plan), member, what, 3)
                sys.stdout.write(f"{what} {member.name}: {tally.searches} searches, the longest took {tally.longest:.1f} s\n")
        lost = disturb.lost(nodes, NAME, tally)
    finally:
        delete(nodes, get(nodes, NAME))
    assert not tally.failures
    assert tally.wrong == 0
    assert lost == 0
    assert tally.searches > 0
    assert tally.acknowledged
