"""Canonical records: what is kept, how exactly, in how many bytes, and what damage does."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.database.entry import StoredModel
from foldry.database.pae_codec import MAX_POINT, decode_pae, encode_pae
from foldry.database.record import OpenRecord, decode, encode
from foldry.errors import InputError
from foldry.formats.coordinates import read_structure
from foldry.formats.model_record import ChainMetric, ModelChain, Reference, Step
from foldry.measures import MEASURES
from foldry.query import Hit
from foldry.residues import CA
from foldry.store.objects import ZSTD
from foldry.store.sections import join_sections, split_sections
from tests.conftest import ROOT
from tests.database.deposits import SEQUENCE, stored_model
from tests.fuzz import mutate

DIMER = ((SEQUENCE, 2), ("MKVLAAGIVG", 1))


def hit(name: str = "1abc_A") -> Hit:
    structure = replace(stored_model(((SEQUENCE, 1),)).record.structure, name=name)
    pairs = np.array([[0, 2], [1, 3], [2, 4], [5, 5], [7, 9]])
    return Hit(name, pairs, structure, 1e-9, 0.9, 0.5, 0.25, "2005-11-20", "aligned again")


def full_model() -> StoredModel:
    """Return a model of a complex in which every field is set."""
    model = stored_model(
        DIMER,
        title='A "title"; with Å, \udcff and \x1b',
        authors=("Doe, Jane", "O'Neil, J."),
        scores={"ptm": 1 / 3, "iptm": 0.1},
        of_chains=[
            ChainMetric(MEASURES["ptm"], np.array([0.5, math.nan, 0.25])),
            ChainMetric(MEASURES["iptm"], np.arange(9.0).reshape(3, 3)),
        ],
        secondary_structure="H" * 22 + "-" * 32,
        version=3,
        notice="Careful",
        licence="none",
        prediction=Step({"foldry": "1.0"}, {"config": {"a": [1, 2.5, None]}, "nothing": math.nan}),
        relaxation=Step({"openmm": "8"}, {"energy": -1.5}),
        inputs="An alignment.",
        templates={"A": [hit(), replace(hit("2def_B"), structure=None)], "C": []},
    )
    about = Reference("P00520", "ABL1_MOUSE", "P00520-4", 2, 23, "Abl1", "Mus musculus", 10090)
    chains = (replace(model.record.chains[0], description="Kinase", reference=about),)
    return replace(model, record=replace(model.record, chains=chains + model.record.chains[1:]))


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal, arrays and NaN included, whatever their types are."""
    if isinstance(left, np.ndarray):
        return bool(np.array_equal(left, right, equal_nan=left.dtype.kind == "f"))
    if hasattr(left, "__dataclass_fields__"):
        names = [name for name in left.__dataclass_fields__ if name != "structure" or right]
        return all(same(getattr(left, name), getattr(right, name)) for name in names)
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right or np.isnan([left, right]).all())


def test_everything_comes_back() -> None:
    model = full_model()
    back = decode(encode(model))
    [kept, without] = back.record.templates["A"]
    assert without.structure is None and kept.structure is not None
    assert kept.structure.sequence == SEQUENCE
    assert not kept.structure.atom_mask.any(), "atoms of templates are not kept"
    reduced = {"A": [replace(hit(), structure=kept.structure), without], "C": []}
    record = replace(model.record, templates=reduced)
    assert same(replace(model, record=record), back)
    assert encode(back) == encode(model)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_unusual_residues_come_back(data: st.DataObject) -> None:
    sequence = data.draw(st.text("ACDEFGHIKLMNPQRSTVWYX", min_size=1, max_size=12))
    copies = data.draw(st.integers(1, 3))
    model = stored_model(((sequence, copies),), seed=data.draw(st.integers(0, 99)), has_pae=False)
    structure = model.record.structure
    size = len(structure)
    random = np.random.default_rng(size)
    mask = structure.atom_mask ^ (random.random((size, 37)) < data.draw(st.floats(0, 1)))
    numbers = data.draw(st.lists(st.integers(-999, 9999), min_size=size, max_size=size))
    codes = data.draw(st.lists(st.sampled_from(["", "A", "B"]), min_size=size, max_size=size))
    b_factor = random.integers(0, 10_000, (size, 37)) / 100
    atoms = random.integers(-(10**7), 10**7, (size, 37, 3)) / 1000
    changed = replace(
        structure,
        residue_number=np.array(numbers),
        insertion_code=np.array(codes),
        atom_mask=mask,
        atom_positions=np.where(mask[..., None], atoms, 0.0),
        b_factor=np.where(mask, b_factor, 0.0),
    )
    given_model = replace(model, record=replace(model.record, structure=changed))
    encoded = encode(given_model)
    assert same(given_model, decode(encoded))
    ca = np.where(mask[:, CA, None], changed.atom_positions[:, CA], np.nan)
    assert np.array_equal(OpenRecord(encoded).ca(), ca, equal_nan=True)


def test_decimals_are_those_of_the_files() -> None:
    model = stored_model(DIMER)
    random = np.random.default_rng(0)
    structure = model.record.structure
    noisy = structure.atom_positions + random.normal(0, 1, structure.atom_positions.shape)
    plddt = random.uniform(0, 100, len(structure))
    record = replace(
        model.record,
        structure=replace(
            structure, atom_positions=noisy, b_factor=np.full((54, 37), plddt[:, None])
        ),
        plddt=plddt,
    )
    assert model.pae is not None
    pae = random.uniform(0, 31.75, model.pae.shape)
    mask = structure.atom_mask
    for exact in (False, True):
        kept = decode(encode(replace(model, record=record, pae=pae), exact_pae=exact))
        assert kept.pae is not None
        back = kept.record.structure
        assert np.array_equal(back.atom_positions[mask], np.round(noisy[mask], 3))
        assert np.array_equal(kept.record.plddt, np.round(plddt, 2))
        assert np.array_equal(back.b_factor[mask], np.round(back.b_factor[mask], 2))
        assert np.array_equal(kept.pae, np.round(pae, 2)), "of a complex"
    single = replace(stored_model(), pae=pae[:22, :22])
    for exact in (False, True):
        errors, _ = OpenRecord(encode(single, exact_pae=exact)).errors()
        assert errors is not None
        assert np.array_equal(errors, np.round(pae[:22, :22], int(exact)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 70), st.sampled_from([1, 30, 400, MAX_POINT]), st.integers(0, 9))
def test_errors_of_any_size_come_back(size: int, most: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    points = random.integers(0, most + 1, (size, size))
    if seed % 2:  # smooth
        points = np.minimum(most, abs(np.subtract.outer(np.arange(size), np.arange(size))))
    assert np.array_equal(decode_pae(*encode_pae(points), size), points)


def test_errors_take_hardly_more_than_their_entropy() -> None:
    # Smooth errors with noise: deviations from the mean of four have about 1.3 times the noise.
    random = np.random.default_rng(0)
    distance = abs(np.subtract.outer(np.arange(256), np.arange(256)))
    points = np.rint(15 - 14 * np.exp(-distance / 30) + random.normal(0, 1.2, (256, 256)))
    points = points.clip(0, 31).astype(int)
    coarse, fine = encode_pae(points)
    _, counts = np.unique(np.rint(random.normal(0, 1.35, 10**6)), return_counts=True)
    entropy = -(counts / 10**6 * np.log2(counts / 10**6)).sum() * points.size / 8
    taken = len(ZSTD.compress(coarse))
    plain = len(ZSTD.compress(points.astype(np.uint8).tobytes()))
    assert fine == b""
    assert taken < 1.08 * entropy
    assert taken < 0.8 * plain


def test_a_record_is_small() -> None:
    """Bits per atom and per residue on real coordinates; errors are measured above."""
    structure = read_structure(ROOT / "examples" / "trypsin" / "1trn.cif").chain("A")
    plddt = np.round(90 + 8 * np.sin(np.arange(len(structure)) / 9), 2)
    model = stored_model(((structure.sequence, 1),), has_pae=False)
    ours = replace(structure, b_factor=np.where(structure.atom_mask, plddt[:, None], 0.0))
    data = encode(replace(model, record=replace(model.record, structure=ours, plddt=plddt)))
    about, confidence, mask, *atoms = (
        len(ZSTD.compress(bytes(each))) for each in split_sections(data)
    )
    assert sum(atoms[:2]) * 8 < 39 * structure.atom_mask.sum()
    assert confidence * 8 < 14 * len(structure)
    assert about < 700 and mask < 300
    assert atoms[2:] == [9, 9, 9, 9], "nothing of B factors and errors"


def test_parts_are_read_without_the_others() -> None:
    model = full_model()
    sections = list(map(bytes, split_sections(encode(model))))
    for damaged in (3, 4, 7):  # atoms, errors
        sections[damaged] = b"?"
    opened = OpenRecord(join_sections(sections))
    assert np.array_equal(opened.plddt(), model.record.plddt)
    assert opened.chains == model.record.chains
    for read in (opened.record, opened.errors):
        with pytest.raises(ValueError, match="match"):
            read()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"plddt": np.zeros(3)}, "pLDDT is not one number"),
        ({"plddt": np.full(22, np.nan)}, "pLDDT is not one number"),
        ({"plddt": np.full(22, 100.01)}, "pLDDT is not one number"),
        ({"chains": (ModelChain(("A",), "MKT"),)}, "do not match the sequences"),
        ({"chains": (ModelChain(("B",), SEQUENCE),)}, "names of the chains"),
        ({"prediction": Step({}, {"a": object()})}, "object cannot be kept"),
        ({"prediction": Step({}, {"a": {1j: 2}})}, "keys must be str"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], sentence: str) -> None:
    model = stored_model(name="x\x1b[2J")
    with pytest.raises(InputError, match=sentence) as raised:
        encode(replace(model, record=replace(model.record, **change)))
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_numbers_out_of_range_are_refused(value: float) -> None:
    model = stored_model()
    assert model.pae is not None
    pae = model.pae.copy()
    pae[3, 4] = value
    with pytest.raises(InputError, match="PAE is not from 0 to 100 Å"):
        encode(replace(model, pae=pae))
    with pytest.raises(InputError, match=r"PAE of shape \(3, 3\)"):
        encode(replace(model, pae=np.zeros((3, 3))))
    structure = model.record.structure
    positions = structure.atom_positions.copy()
    positions[0, 1] = value
    changed = replace(structure, atom_positions=positions)
    with pytest.raises(InputError, match="not finite or is out of range"):
        encode(replace(model, record=replace(model.record, structure=changed)))


def test_a_record_that_claims_many_residues_takes_no_memory() -> None:
    sections = list(map(bytes, split_sections(encode(stored_model()))))
    about = json.loads(sections[0])
    about["chains"][0] |= {"ids": ["A"] * 1000, "sequence": "M" * 100_000}
    for plddt in (b"", bytes(2 * 10**8)):
        packed = join_sections([json.dumps(about).encode(), plddt, *sections[2:]])
        with pytest.raises(ValueError, match="does not match the sequences"):
            OpenRecord(packed).record()


def test_damaged_records_are_refused_by_one_kind_of_error() -> None:
    """Bytes change, vanish and repeat; values inside the metadata change: only ValueError."""
    random = Random(0)
    sections = list(map(bytes, split_sections(encode(full_model()))))
    refused = 0
    for _ in range(600):
        changed = list(sections)
        place = random.choice([0, 0, 0, *range(1, len(sections))])
        change = mutate.json_ if place == 0 and random.random() < 0.8 else mutate.bytes_
        changed[place] = change(random, sections[place])
        try:
            decode(join_sections(changed))
        except ValueError:
            refused += 1
    assert 200 < refused < 600
    for data in (b"", b"FSEC", join_sections([]), join_sections([b"{}"] * 9), b"x" * 100):
        with pytest.raises(ValueError, match=r"section|format"):
            decode(data)
