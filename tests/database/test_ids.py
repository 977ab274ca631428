"""Names of entries."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldry.database import ids
from foldry.errors import InputError

# Of UniProt's help page on accession numbers, and a few entries of AlphaFold DB.
ACCESSIONS = ["P12345", "A2BC19", "A0A023GPI8", "A0A0A0MRZ7", "Q9H0H5", "O15552"]


@pytest.mark.parametrize("text", ACCESSIONS)
def test_accessions_are_read_in_any_case(text: str) -> None:
    assert ids.accession(text.lower()) == ids.Accession(text)
    assert ids.accession(f"{text}-12") == ids.Accession(text, 12)
    assert ids.model_parts(f"af-{text.lower()}-3-f2") == (ids.Accession(text, 3), 2)
    assert ids.Accession(text, 3).entry_id(2) == f"AF-{text}-3-F2"


@pytest.mark.parametrize(
    "text",
    ["", "1ABC", "P1234", "P123456", "P12345-0", "P12345-", "P12345\n", "Ｐ12345"],
)
def test_other_texts_are_no_accessions(text: str) -> None:
    with pytest.raises(InputError, match="is not a UniProt accession"):
        ids.accession(text)
    assert ids.model_parts(f"AF-{text}-F1") is None


def test_numbered_ids_have_sixteen_digits() -> None:
    assert ids.counted_id(1_000_000, 1) == "AF-1000000000000001"
    assert ids.counted_parts("af-1000000000000001") == (1_000_000, 1)
    assert ids.counted_parts("AF-100000000000001") is None
    assert ids.counted_parts("AF-१000000000000001") is None
    with pytest.raises(InputError, match="All ids of this database are used"):
        ids.counted_id(1_000_000, 1_000_000_000)


@pytest.mark.parametrize("end", ["-v4", "_v4", "-V4", "_V4"])
def test_a_version_may_follow(end: str) -> None:
    assert ids.without_version(f"AF-P12345-F1{end}") == ("AF-P12345-F1", 4)
    assert ids.without_version(f"P12345-2{end}") == ("P12345-2", 4)


@pytest.mark.parametrize("text", ["v4", "-v4", "P12345-v0", "P12345-v", "P12345v4"])
def test_what_is_no_version(text: str) -> None:
    assert ids.without_version(text) == (text, None)


@given(st.text())
def test_a_local_name_is_a_qualifier(text: str) -> None:
    name = ids.local_name(text)
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", name)
    assert ids.local_name(name) == name


@pytest.mark.parametrize("number", [0, -1, 100_000])
def test_fragments_are_counted_from_1(number: int) -> None:
    with pytest.raises(InputError, match="is not a number of a fragment"):
        ids.check_fragment(number)
