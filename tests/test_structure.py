"""Structures: selecting chains and residues."""

from __future__ import annotations

import pytest

from foldry.errors import InputError
from foldry.formats.coordinates import read_structure
from tests.predict.fake import DIMER


def test_a_chain_is_selected_by_its_name() -> None:
    dimer = read_structure(DIMER / "1mld_AB.cif.gz")
    parts = [dimer.chain(name) for name in dimer.chains]
    assert dimer.chains == ("A", "B")
    assert [part.chains for part in parts] == [("A",), ("B",)]
    assert sum(map(len, parts)) == len(dimer)
    assert "".join(part.sequence for part in parts) == dimer.sequence


def test_a_chain_that_is_missing_is_an_error() -> None:
    with pytest.raises(InputError, match="no chain 'C'"):
        read_structure(DIMER / "1mld_AB.cif.gz").chain("C")


def test_a_selection_keeps_its_name_unless_another_is_given() -> None:
    dimer = read_structure(DIMER / "1mld_AB.cif.gz")
    first = dimer.chain_id == "A"
    assert dimer.select(first).name == dimer.name
    assert dimer.select(first, "first").name == "first"
