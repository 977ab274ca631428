"""Measures: their decimals in tables and pages, and the number of both directions of a pair."""

from __future__ import annotations

import math

import pytest

from foldry.measures import MEASURES, SHARE, YES, rounded


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("ranking_confidence", 0.8125, "0.81"),
        ("plddt", 87.654, "87.7"),
        ("mean_plddt", 87.654, "87.7"),
        ("iptm", 0.8125, "0.81"),
        ("interface_pae", 4.321, "4.3"),
        ("clashing_atoms", 12, "12"),
        ("clashing_share", 0.125, "0.12"),
        ("has_clash", 1, "yes"),
        ("has_clash", 0, "no"),
        ("lddt", 0.87654, "0.8765"),
        ("rmsd", 1.23456, "1.2346"),
        ("plddt_error", 12.345, "12.3"),
        ("seconds", 0.345, "0.3"),
        ("iptm", None, "–"),
        ("rmsd", math.nan, "–"),
    ],
)
def test_a_measure_is_shown_with_its_decimals(key: str, value: float | None, text: str) -> None:
    assert MEASURES[key].text(value) == text


def test_scores_with_two_directions_say_how_they_are_combined() -> None:
    quoted = {key: each.quoted for key, each in MEASURES.items() if each.quoted}
    assert quoted == {
        "iptm": "higher",
        "actifptm": "higher",
        "ipsae": "higher",
        "lis": "mean",
        "interface_pae": "mean",
        "clashing_atoms": "sum",
    }


def test_only_the_share_of_clashes_is_better_if_lower() -> None:
    shares = [each for each in MEASURES.values() if each.unit == SHARE]
    assert [each.key for each in shares if each.better != "higher"] == ["clashing_share"]
    assert [each.key for each in MEASURES.values() if each.unit == YES] == ["has_clash"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0.123456, 0.1235), (7, 7), (None, None), (math.nan, None), (math.inf, None)],
)
def test_numbers_in_files_have_four_decimals(number: float | None, expected: float | None) -> None:
    assert rounded(number) == expected
