"""The table of MMseqs2's hits: what it says, and one sentence for a line that says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.formats import m8
from foldry.formats.m8 import COLUMNS, m8_row, parse_m8

VALUES = "101 2crb_A 0.75 6 1 2 3 7 6 10 1.5E-05 42 2M1I1M1D1M"
CELLS = dict(zip(COLUMNS, VALUES.split(), strict=True))


def row(**changed: str) -> str:
    return "\t".join({**CELLS, **changed}.values())


def test_a_hit() -> None:
    [hit] = parse_m8(f"\n{row()}\r\n\n")
    assert (hit.query, hit.target, hit.identity, hit.e_value) == ("101", "2crb_A", 0.75, 1.5e-5)
    assert hit.pairs.tolist() == [[2, 5], [3, 6], [5, 7], [6, 9]]
    assert (hit.begin, hit.end) == (5, 10)


def test_hits_keep_their_order_and_further_columns_are_skipped() -> None:
    text = "".join(f"{row(target=name)}\tmore\n" for name in ("1abc_A", "9xyz_B", "1abc_A"))
    assert [hit.target for hit in parse_m8(text)] == ["1abc_A", "9xyz_B", "1abc_A"]
    assert list(parse_m8("")) == []


def test_a_hit_is_written_as_it_was_read() -> None:
    values = "101\t2crb_A\t0.750\t6\t1\t2\t3\t7\t6\t10\t1.500E-05\t42\t2M1I1M1D1M"
    [hit] = parse_m8(values)
    assert m8_row(hit, bits=42) == values
    [again] = parse_m8(m8_row(hit))
    assert again.pairs.tolist() == hit.pairs.tolist()
    assert (again.begin, again.end, again.e_value) == (hit.begin, hit.end, hit.e_value)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"target": ""}, "has no usable name as its target"),
        ({"query": "a b"}, "has no usable name as its query"),
        ({"target": "a\x1b[2J"}, "has no usable name as its target"),
        ({"fident": "nan"}, "has no usable value of fident"),
        ({"fident": "75.0"}, ".*contradict each other"),
        ({"evalue": "-1"}, "has no usable value of evalue"),
        ({"evalue": "1e99999"}, "has no usable value of evalue"),
        ({"qstart": "0"}, ".*contradict each other"),
        ({"qstart": "٣"}, "has no usable value of qstart"),
        ({"qend": "8"}, ".*contradict each other"),
        ({"tstart": "7"}, ".*contradict each other"),
        ({"tend": "9999999999"}, "has no usable value of tend"),
        ({"tstart": "999999996", "tend": "1000000000"}, "has no usable value of tend"),
        ({"tstart": "999999990", "tend": "999999994"}, ".*contradict each other"),
        ({"cigar": "2M1I1M1D1"}, "has no usable value of cigar"),
        ({"cigar": "2M1I1M1D1=1M"}, "has no usable value of cigar"),
        ({"cigar": "999999M" * 20}, ".*contradict each other"),
        ({"cigar": "5I5D"}, ".*contradict each other"),
        ({"cigar": ""}, "has no usable value of cigar"),
    ],
)
def test_a_line_that_is_no_hit(changed: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=rf"^a\.m8, line 2, {says}") as failed:
        list(parse_m8(f"{row()}\n{row(**changed)}\n", "a.m8"))
    assert "\n" not in str(failed.value)


def test_too_few_columns() -> None:
    with pytest.raises(InputError, match=r"^a\.m8, line 1, has 12 columns instead of the 13 of"):
        list(parse_m8(row().rpartition("\t")[0], "a.m8"))
    with pytest.raises(InputError, match=r"^a\.m8, line 1, has 1 column instead of the 13 of"):
        list(parse_m8("<html>no such ticket</html>", "a.m8"))


def test_hits_and_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m8, "MAX_HITS", 2)
    hits = parse_m8(f"{row()}\n" * 3, "a.m8")
    assert len([next(hits), next(hits)]) == 2
    with pytest.raises(InputError, match=r"^a\.m8 has more than 2 hits"):
        next(hits)
    monkeypatch.setattr(m8, "_MAX_LINE", 50)
    with pytest.raises(InputError, match=r"^a\.m8, line 1, has"):
        list(parse_m8(row(), "a.m8"))


def test_the_longest_chains() -> None:
    [hit] = parse_m8(row(qstart="1", qend="99999", tstart="2", tend="100000", cigar="99999M"))
    assert np.array_equal(hit.pairs[[0, -1]], [[0, 1], [99_998, 99_999]])
