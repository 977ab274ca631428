"""Matching of residues by number and by sequence."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.residues import encode_sequence
from foldry.score.match import match_residues
from foldry.structure import Structure
from tests.score.conftest import helix

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ"


def chain(
    sequence: str = SEQUENCE, first: int = 1, chain_id: str = "A", name: str = "x"
) -> Structure:
    num = len(sequence)
    positions, mask = np.zeros((num, 37, 3)), np.zeros((num, 37), bool)
    positions[:, 1], mask[:, 1] = helix(num), True
    return Structure(
        name=name,
        aatype=encode_sequence(sequence),
        residue_number=np.arange(first, first + num),
        insertion_code=np.full(num, "", dtype="<U4"),
        chain_id=np.full(num, chain_id, dtype="<U4"),
        atom_positions=positions,
        atom_mask=mask,
        b_factor=np.zeros((num, 37)),
    )


def joined(*chains: Structure) -> Structure:
    arrays = {
        field.name: np.concatenate([getattr(one, field.name) for one in chains])
        for field in dataclasses.fields(Structure)
        if field.name != "name"
    }
    return Structure(name=chains[0].name, **arrays)


def test_by_number_in_any_order() -> None:
    reference = chain()
    model = reference.select(np.array([4, 2, 30]))
    match = match_residues(model, reference)
    assert match.pairs.tolist() == [[0, 4], [1, 2], [2, 30]]
    assert match.unmatched_model == ()
    assert len(match.unmatched_reference) == len(SEQUENCE) - 3
    assert match.unmatched_reference[0] == "A.1."
    assert match.mismatched == ()


def test_insertion_codes_count() -> None:
    reference = chain("ACDE")
    reference.residue_number[:] = [10, 10, 10, 11]
    reference.insertion_code[:] = ["", "A", "B", ""]
    model = reference.select(np.array([0, 2, 3]))
    match = match_residues(model, reference)
    assert match.pairs.tolist() == [[0, 0], [1, 2], [2, 3]]
    assert match.unmatched_reference == ("A.10.A",)


def test_single_chains_need_no_common_name() -> None:
    match = match_residues(chain(chain_id="B"), chain(chain_id="A"))
    assert match.chains == (("B", "A"),)
    assert len(match.pairs) == len(SEQUENCE)


def test_chains_by_sequence_and_place() -> None:
    far, nowhere = chain(chain_id="C"), chain("WWWWWHHHHH", chain_id="E")
    far.atom_positions[:] += 50
    model = joined(chain("ACDEF", chain_id="B"), far, nowhere, chain(chain_id="D"))
    reference = joined(chain(chain_id="C"), chain("ACDEF", chain_id="B"), chain(chain_id="E"))
    match = match_residues(model, reference)
    assert match.chains == (("C", "C"), ("B", "B"), ("D", "E"))
    assert len(match.pairs) == 5 + 2 * len(SEQUENCE)
    assert match.unmatched_model_chains == ("E",)
    assert match.unmatched_reference_chains == ()
    assert match.unmatched_model[0] == "E.1."


def test_a_missing_chain_is_listed() -> None:
    reference = joined(chain(chain_id="A"), chain("ACDEF", chain_id="B"))
    match = match_residues(chain(chain_id="X"), reference)
    assert match.chains == (("X", "A"),)
    assert match.unmatched_reference_chains == ("B",)
    assert match.unmatched_reference == tuple(f"B.{number}." for number in range(1, 6))


def test_chains_of_other_sequences_by_name() -> None:
    model = joined(chain("AAAAAA", chain_id="B"), chain("AAAAAAA", chain_id="C"))
    reference = joined(chain("CDEFGH", chain_id="C"), chain("CDEFGHI", chain_id="B"))
    match = match_residues(model, reference)
    assert match.chains == (("C", "C"), ("B", "B"))
    assert len(match.mismatched) == 12


def test_by_sequence_whatever_the_numbers() -> None:
    model = chain(SEQUENCE[:12] + SEQUENCE[15:], first=501)
    match = match_residues(model, chain(), align=True)
    there = [*range(12), *range(15, len(SEQUENCE))]
    assert match.pairs.tolist() == [[here, index] for here, index in enumerate(there)]
    assert match.unmatched_reference == ("A.13.", "A.14.", "A.15.")


def test_different_amino_acids_are_listed() -> None:
    match = match_residues(chain("ACX"), chain("AWC"))
    assert match.mismatched == ("A.TRP2-A.CYS2",)


def test_a_repeated_residue_is_reported() -> None:
    reference = chain()
    model = joined(reference, reference.select(np.array([3])))
    match = match_residues(model, reference)
    assert len(match.pairs) == len(SEQUENCE)
    assert match.unmatched_model == ("A.4.",)


@pytest.mark.parametrize(
    ("model", "reference", "align", "said"),
    [
        (chain(first=900), chain(), False, "by residue number: set `align` to match by sequence"),
        (chain("AAAA"), chain("WWWW"), True, "by sequence alignment"),
        (
            joined(chain("AAAA", chain_id="A"), chain("AAAA", chain_id="B")),
            joined(chain("WWWW", chain_id="C"), chain("WWWW", chain_id="D")),
            False,
            "by residue number",
        ),
    ],
)
def test_nothing_in_common(model: Structure, reference: Structure, align: bool, said: str) -> None:
    with pytest.raises(InputError, match=said):
        match_residues(model, reference, align)
