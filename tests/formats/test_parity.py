"""Alignments and hits as the official program parses them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.formats.a3m import parse_a3m
from foldry.formats.hhr import parse_hhr
from foldry.formats.stockholm import (
    deduplicate_stockholm,
    parse_stockholm,
    remove_empty_columns,
    stockholm_to_a3m,
    truncate_stockholm,
)
from foldry.query import Alignment

Recorded = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def parsers(parity_dir: Path) -> Recorded:
    path = parity_dir / "data" / "parsers.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    with np.load(path) as archive:
        return dict(archive)


def text(array: np.ndarray) -> str:
    return array.tobytes().decode()


def assert_equal(alignment: Alignment, recorded: Recorded, key: str) -> None:
    assert [row.encode() for row in alignment.sequences] == recorded[f"{key}/sequences"].tolist()
    assert [name.encode() for name in alignment.headers] == recorded[f"{key}/descriptions"].tolist()
    np.testing.assert_array_equal(alignment.deletions, recorded[f"{key}/deletion_matrix"])


@pytest.mark.parity
def test_alignments(parsers: Recorded) -> None:
    assert_equal(parse_stockholm(text(parsers["in_sto"])), parsers, "sto")
    assert_equal(parse_stockholm(text(parsers["in_mgnify_sto"])), parsers, "mgnify")
    assert_equal(parse_a3m(text(parsers["in_a3m"])), parsers, "a3m")


@pytest.mark.parity
def test_stockholm_texts(parsers: Recorded) -> None:
    sto = text(parsers["in_sto"])
    assert deduplicate_stockholm(sto) == text(parsers["sto_dedup"])
    assert remove_empty_columns(sto) == text(parsers["sto_noemptycol"])
    assert stockholm_to_a3m(sto) == text(parsers["sto_to_a3m"])
    limited = [key for key in parsers if re.fullmatch(r"sto_(to_a3m_max|truncated)\d+", key)]
    assert len(limited) >= 2
    for key in limited:
        limit = int(re.sub(r"\D+3m|\D", "", key))
        short = stockholm_to_a3m(sto, limit) if "a3m" in key else truncate_stockholm(sto, limit)
        assert short == text(parsers[key])


@pytest.mark.parity
def test_hits(parsers: Recorded, parity_dir: Path) -> None:
    records = parse_hhr(text(parsers["in_hhr"]))
    assert [record.title.encode() for record in records] == parsers["hhr/name"].tolist()
    assert [len(record.hit.pairs) for record in records] == parsers["hhr/aligned_cols"].tolist()
    assert [record.sum_probs for record in records] == parsers["hhr/sum_probs"].tolist()
    assert list(range(1, len(records) + 1)) == parsers["hhr/index"].tolist()
    for number, record in enumerate(records):
        assert record.query == text(parsers[f"hhr/{number}/query"])
        assert record.template == text(parsers[f"hhr/{number}/hit_sequence"])
        rows = zip((record.query, record.template), record.begins, strict=True)
        for (row, begin), name in zip(rows, ("query", "hit"), strict=True):
            there = np.array(list(row)) != "-"
            indices = np.where(there, begin + np.cumsum(there) - 1, -1)
            np.testing.assert_array_equal(indices, parsers[f"hhr/{number}/indices_{name}"])
    with np.load(parity_dir / "data" / "templates.npz") as mappings:
        numbers = [name.split("/")[1] for name in mappings if name.startswith("index_mapping/")]
        assert numbers
        for number in map(int, numbers):
            pairs = mappings[f"index_mapping/{number}"]
            np.testing.assert_array_equal(records[number].hit.pairs, pairs)


HIT = """No 1
>1ABC_A Some protein
Probab=99.93  E-value=1.1e-30  Score=190  Aligned_cols=4  Identities=81%  Sum_probs=3.1

Q q                 1 MK-TA    4 (22)
T 1ABC_A            3 MKATA    7 (30)
"""


@pytest.mark.parametrize(
    ("whole", "damaged"),
    [
        ("=1.1e-30", "=1.1e--30"),
        ("=1.1e-30", "=:,-"),
        ("=99.93", "=9.9.3"),
        ("=99.93", "=" + "9" * 5000),
        ("=99.93", "=100.1"),
        ("=99.93", "=1e999"),
        ("=99.93", "=inf"),
        ("probs=3.1", "probs=3,1"),
        ("probs=3.1", "probs=0x3"),
        ("probs=3.1", "probs="),
        ("Aligned_cols=4", "Aligned_cols=" + "4" * 5000),
        ("   3 MKATA", f" {'3' * 5000} MKATA"),
        ("   3 MKATA", "   ३ MKATA"),
        ("4  Identities", "0  Identities"),
        ("-TA    4", "TA    4"),
        (HIT[5:], ""),
        (HIT[5:], HIT[5:].replace("MK-TA", "-----").replace("cols=4", "cols=0")),
    ],
)
def test_a_damaged_number_is_refused(whole: str, damaged: str) -> None:
    [record] = parse_hhr(HIT)
    assert record.hit.pairs.tolist() == [[0, 0], [1, 1], [2, 3], [3, 4]]
    assert (record.hit.e_value, record.sum_probs, record.begins) == (1.1e-30, 3.1, (0, 2))
    with pytest.raises(InputError, match=r"x\.hhr, hit 1, has"):
        parse_hhr(HIT.replace(whole, damaged), "x.hhr")


def test_a_file_without_hits_has_none() -> None:
    head = "Query         q\nMatch_columns 22\n\n No Hit      Prob E-value\n\nDone!\n"
    assert parse_hhr(head) == parse_hhr("") == []


@pytest.mark.parity
def test_a_damaged_hit_is_refused(parsers: Recorded) -> None:
    whole = text(parsers["in_hhr"])
    for damaged, said in (
        (whole[: whole.index("No 2") + 5], "hit 2, has no title, or not all scores"),
        (
            re.sub(r"(?m)^(T (?!Cons|ss_).{14} *\d+ +)[A-Z]", r"\1-", whole, count=1),
            "row T",
        ),
        (re.sub(r"(?m)^Q (?!Cons|ss_).*\n", "", whole), "hit 1, has no row Q"),
        (
            whole.replace("Aligned_cols=", "Aligned_cols=1", 1),
            "hit 1, has a wrong number of aligned columns",
        ),
    ):
        assert damaged != whole
        with pytest.raises(InputError, match=said):
            parse_hhr(damaged)
