"""3Di letters, compared with those of biotite and mini3di."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mini3di
import numpy as np
import pytest
from benchmarks.matrix_3di import structures
from biotite.structure.alphabet import to_3di  # type: ignore[import-untyped]
from biotite.structure.io.pdbx import (  # type: ignore[import-untyped]
    CIFFile,
    get_structure,
)

from foldry.database.letters_3di import letters, letters_of_records
from foldry.formats.coordinates import read_structure
from foldry.structure import Structure
from tests.conftest import ROOT
from tests.database.deposits import stored_model

EXAMPLES = ("kunitz/1adz.cif", "trypsin/1trn.cif")


def by_mini3di(chain: Structure) -> str:
    positions = np.where(chain.atom_mask[..., None], chain.atom_positions, np.nan)
    encoder = mini3di.Encoder()
    atoms = (positions[:, atom] for atom in (1, 3, 0, 2))
    return str(encoder.build_sequence(encoder.encode_atoms(*atoms)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_letters_are_those_of_biotite(name: str) -> None:
    path = ROOT / "examples" / name
    [theirs], _ = to_3di(get_structure(CIFFile.read(path), model=1, use_author_fields=False))
    [ours] = letters([read_structure(path)])
    assert ours == str(theirs).upper()


def test_letters_are_those_of_mini3di(data_dir: Path) -> None:
    chains = list(structures(data_dir, "val"))
    assert len(chains) == 150
    assert letters(chains) == [by_mini3di(each) for each in chains]


def test_absent_atoms() -> None:
    whole = read_structure(ROOT / "examples/trypsin/1trn.cif")
    random = np.random.default_rng(0)
    for share in (0.02, 0.1, 0.3):
        mask = whole.atom_mask & (random.random(whole.atom_mask.shape) > share)
        damaged = replace(whole, atom_mask=mask)
        [ours] = letters([damaged])
        assert len(ours) == len(whole)
        assert ours == by_mini3di(damaged)


@pytest.mark.parametrize("length", range(1, 8))
def test_short_chains(length: int) -> None:
    whole = read_structure(ROOT / "examples/kunitz/1adz.cif")
    short = whole.select(np.arange(20, 20 + length))
    [ours] = letters([short])
    assert ours == (by_mini3di(short) if length > 3 else "D" * length)


def test_each_chain_is_alone_in_a_batch() -> None:
    one, other = (read_structure(ROOT / "examples" / name) for name in EXAMPLES)
    nothing = one.select(np.zeros(0, int))
    found = letters([one, nothing, other, one])
    assert found == [*letters([one]), "", *letters([other]), *letters([one])]
    assert letters([]) == []
    moved = replace(other, atom_positions=other.atom_positions + 1000.0)
    assert letters([moved]) == letters([other])


def first_copies(chains: Sequence[tuple[str, int]]) -> tuple[list[str], tuple[str, ...]]:
    record = stored_model(chains).record
    [found] = letters_of_records([record])
    names = [chain.ids[0] for chain in record.chains]
    return letters([record.structure.chain(name) for name in names]), found


def test_letters_of_complexes() -> None:
    expected, found = first_copies((("MKTAYIAKQRQISFVK", 2), ("GGSLLNACDEFWYV", 3), ("MKV", 1)))
    assert [*found] == expected
    assert [*map(len, found)] == [16, 14, 3]
    models = [stored_model(((("ACDEFGHIKL" * k), 1),), seed=k).record for k in (2, 3)]
    assert letters_of_records(models) == [letters_of_records([each])[0] for each in models]
