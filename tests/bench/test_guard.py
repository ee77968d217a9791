from __future__ import annotations

import pytest

from bench.guard import RULES, TURNS, Rule, judge, ratio
from bench.guarded import PARTS, Pair

RULE = {"it": Rule("it", "its peer", 2.0)}


def turns_of(*ratios: float) -> tuple[list[int], object]:
    """A part that says these, one after the other, then the last for ever; and how often it was asked."""
    asked = [0]

    def turn() -> dict[str, Pair]:
        value = ratios[min(asked[0], len(ratios) - 1)]
        asked[0] += 1
        return {"it": (value, 1.0)}

    return asked, turn


def test_every_rule_has_a_part_and_fails_before_it_is_twice_as_slow() -> None:
    assert [name for _, names in PARTS.values() for name in names] == list(RULES)
    assert TURNS.keys() == PARTS.keys()
    for name, rule in RULES.items():
        assert rule.measured * 1.7 < rule.bound < rule.measured * 2, name


def test_the_middle_of_the_turns_counts() -> None:
    assert ratio([(2.0, 1.0), (30.0, 10.0), (100.0, 1.0)]) == 3.0


def test_the_shortest_of_the_waits_count() -> None:
    assert ratio([(4.0, 9.0), (30.0, 1.0), (6.0, 2.0)], waits=True) == 4.0


@pytest.mark.parametrize("slow", [1.0, 1.5])
def test_what_is_as_it_was_passes_at_once(slow: float) -> None:
    asked, turn = turns_of(2.0 * slow)
    judged = judge(turn, ["it"], 3, RULE)["it"]  # type: ignore[arg-type]
    assert judged["passed"]
    assert asked == [3]


def test_twice_as_slow_fails_after_all_turns() -> None:
    asked, turn = turns_of(4.0)
    judged = judge(turn, ["it"], 3, RULE)["it"]  # type: ignore[arg-type]
    assert not judged["passed"]
    assert judged["turns"] == asked[0] == 3 + 3 + 3


def test_a_moment_of_noise_passes_with_more_turns() -> None:
    asked, turn = turns_of(9.0, 9.0, 9.0, 2.0)
    judged = judge(turn, ["it"], 3, RULE)["it"]  # type: ignore[arg-type]
    assert judged["passed"]
    assert asked == [9]
