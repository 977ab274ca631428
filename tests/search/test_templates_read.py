"""Hits in the files of hmmsearch and hhsearch."""

from __future__ import annotations

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.search.templates_read import hits_of_hhr, hits_of_stockholm

QUERY = "MKTAYIAK"
STOCKHOLM = """# STOCKHOLM 1.0
#=GF ID query
#=GS 1abc_A/5-11 DE [subseq from] mol:protein length:20  A KINASE
#=GS 2def_B/1-4  DE [subseq from] mol:na length:4  DNA

1abc_A/5-11         -KT.Ay
#=GR 1abc_A/5-11 PP .99.99
2def_B/1-4          -CGaA.
3ghi_long.name_C/1-5 MKT..-
#=GC RF             xxx.x.

1abc_A/5-11         IA-W
2def_B/1-4          ----
3ghi_long.name_C/1-5 IA--
#=GC RF             xxxx
//
"""
HHR = """Query         q
Match_columns 8

 No Hit                             Prob E-value P-value  Score    SS Cols Query HMM  Template HMM
  1 1ABC_A A kinase; {Mus musculus  99.1 1.2E-4  1E-5     26.1   0.0    5    2-7       5-9  (20)

No 1
>1ABC_A A kinase; {Mus musculus}
Probab=99.10  E-value=0.00012  Score=26.06  Aligned_cols=5  Identities=60%  Sum_probs=4.5

Q q                 2 KTAYI    6 (8)
Q Consensus         2 ktayi    6 (8)
                      ||+ |
T Consensus         5 kt~-i    8 (20)
T 1ABC_A            5 KTX-I    8 (20)
Confidence            999 9


Q q                 7 A    7 (8)
T 1ABC_A            9 W    9 (20)


"""


def test_rows_of_hmmsearch_are_hits() -> None:
    first, other = hits_of_stockholm(STOCKHOLM, QUERY)
    assert (first.name, first.sequence, first.begin) == ("1abc_A", "KTAYIAW", 4)
    assert first.pairs.tolist() == [[1, 0], [2, 1], [3, 2], [4, 4], [5, 5], [7, 6]]
    assert first.title == "mol:protein length:20  A KINASE"
    assert (first.sum_probs, first.probability, first.e_value) == (None, None, None)
    assert (other.name, other.sequence) == ("3ghi_long.name_C", "MKTIA")
    assert other.pairs.tolist() == [[0, 0], [1, 1], [2, 2], [4, 3], [5, 4]]


def test_no_text_is_no_hit() -> None:
    assert hits_of_stockholm("", QUERY) == []
    assert hits_of_hhr("") == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("IA-W", "IAW", "has a row"),
        ("3ghi_long.name_C/1-5", "3ghi_long.name_C", "is not named after an entry"),
        ("-KT.Ay", "-KTYAy", "has 9 columns of the profile and not 8"),
        ("-KT.Ay", "-KT.7y", "is not a name and an aligned sequence"),
    ],
)
def test_a_damaged_alignment_is_one_sentence(old: str, new: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        hits_of_stockholm(STOCKHOLM.replace(old, new), QUERY, "pdb_hits.sto")


def test_another_query_is_refused() -> None:
    with pytest.raises(InputError, match="has 8 columns of the profile and not 9"):
        hits_of_stockholm(STOCKHOLM, QUERY + "A")


def test_hits_of_hhsearch() -> None:
    [hit] = hits_of_hhr(HHR)
    assert (hit.name, hit.sequence, hit.begin) == ("1abc_A", "KTXIW", 4)
    assert hit.pairs.tolist() == [[1, 0], [2, 1], [3, 2], [5, 3], [6, 4]]
    assert hit.title == "A kinase; {Mus musculus}"
    assert (hit.sum_probs, hit.e_value) == (4.5, 0.00012)
    assert hit.probability == pytest.approx(0.991)


def test_only_entries_of_the_pdb_get_small_letters() -> None:
    named = HHR.replace("1ABC_A", "My_Model_A")
    assert [hit.name for hit in hits_of_hhr(named)] == ["My_Model_A"]


@pytest.mark.parametrize("old", ["Sum_probs=4.5", "T 1ABC_A            9 W"])
def test_a_damaged_hit_is_one_sentence(old: str) -> None:
    with pytest.raises(InputError, match=r"pdb_hits\.hhr, hit 1, has "):
        hits_of_hhr(HHR.replace(old, ""), "pdb_hits.hhr")


def test_letters_and_pairs_fit() -> None:
    for hit in (*hits_of_stockholm(STOCKHOLM, QUERY), *hits_of_hhr(HHR)):
        assert (np.diff(hit.pairs, axis=0) > 0).all()
        assert hit.pairs[:, 1].max() < len(hit.sequence)
