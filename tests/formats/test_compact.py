"""Atoms and PAE survive encoding in byte planes, and damaged planes give a single error."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.formats.compact import (
    B_FACTOR_STEP,
    MAX_STEPS,
    decode_atoms,
    decode_pae,
    decode_structure,
    encode_atoms,
    encode_pae,
    encode_structure,
    join_floats,
    join_planes,
    split_floats,
)
from foldry.formats.coordinates import read_structure
from foldry.residues import ATOM37_MASK, CA, N
from foldry.structure import Structure
from tests.conftest import ROOT

STEPS = st.sampled_from([0.001, 0.005, 0.02, 1.0])
SEEDS = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def trypsin() -> Structure:
    return read_structure(ROOT / "examples" / "trypsin" / "1trn.cif")


def invent(seed: int, size: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Atoms anywhere up to ±9999 Å, and a mask with few, some or all of them."""
    rng = np.random.default_rng(seed)
    mask = rng.random((size, 37)) < rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], (size, 1))
    mask[:, CA] &= rng.random(size) < 0.5
    reach = rng.choice([3.0, 100.0, 9999.0])
    positions = rng.uniform(-reach, reach, (size, 37, 3)) * mask[..., None]
    return positions.astype(dtype), mask


def invent_structure(seed: int, size: int, dtype: type = np.float64) -> Structure:
    rng = np.random.default_rng(seed)
    positions, mask = invent(seed, size, dtype)
    return Structure(
        name="invented",
        aatype=rng.integers(0, 21, size),
        residue_number=rng.integers(-999, 9999, size).astype(rng.choice(["i4", "i8"])),
        insertion_code=rng.choice(["", "A"], size),
        chain_id=rng.choice(["A", "B", "AA1"], size),
        atom_positions=positions,
        atom_mask=mask,
        b_factor=(rng.uniform(-5, 200, (size, 37)) * mask).astype(dtype),
    )


def assert_same(one: Structure, other: Structure) -> None:
    """Equal in values, types and bits."""
    assert one.name == other.name
    for field in fields(Structure):
        if field.name != "name":
            left, right = getattr(one, field.name), getattr(other, field.name)
            assert (left.dtype, left.shape) == (right.dtype, right.shape), field.name
            assert left.tobytes() == right.tobytes(), field.name


def stored(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays, written to a file and read from it without pickle."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def packed_size(arrays: Mapping[str, np.ndarray]) -> int:
    return sum(len(zlib.compress(array.tobytes(), 9)) for array in arrays.values())


@settings(max_examples=200, deadline=None)
@given(SEEDS, st.integers(0, 9), STEPS, st.sampled_from([np.float32, np.float64]))
def test_atoms_come_back_to_half_a_step(seed: int, size: int, step: float, dtype: type) -> None:
    positions, mask = invent(seed, size, dtype)
    arrays = encode_atoms(positions, mask, step)
    back = decode_atoms(arrays, mask)
    assert back.shape == positions.shape
    assert not back[~mask].any()
    assert np.abs(back - positions).max(initial=0) <= step / 2 + 1e-9
    again = encode_atoms(back, mask, step)
    assert again.keys() == arrays.keys()
    assert all(np.array_equal(again[name], arrays[name]) for name in arrays)
    assert decode_atoms(again, mask).tobytes() == back.tobytes()
    # As in training.
    third = encode_atoms(back.astype(np.float32), mask, step) if step > 0.005 else arrays
    assert all(np.array_equal(third[name], arrays[name]) for name in arrays)


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.integers(0, 9), st.sampled_from([np.float32, np.float64]), st.booleans())
def test_without_a_step_values_are_kept_bit_for_bit(
    seed: int, size: int, dtype: type, also_beyond: bool
) -> None:
    structure = invent_structure(seed, size, dtype)
    if also_beyond and size:
        positions = structure.atom_positions.copy()
        positions[~structure.atom_mask] = -0.0
        positions[0, N] = np.nan, np.inf, -1e-40
        structure = replace(structure, atom_positions=positions)
    back = decode_structure(stored(encode_structure(structure, None)), "invented")
    assert_same(back, structure)


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.integers(0, 9), STEPS)
def test_structures_come_back_to_half_a_step(seed: int, size: int, step: float) -> None:
    structure = invent_structure(seed, size)
    back = decode_structure(stored(encode_structure(structure, step)), "invented")
    same = ("aatype", "residue_number", "insertion_code", "chain_id", "atom_mask")
    assert_same(replace(structure, **{name: getattr(back, name) for name in same}), structure)
    error = np.abs(back.atom_positions - structure.atom_positions).max(initial=0)
    assert error <= step / 2 + 1e-9
    error = np.abs(back.b_factor - structure.b_factor).max(initial=0)
    assert error <= B_FACTOR_STEP / 2 + 1e-9
    assert_same(decode_structure(encode_structure(back, step), "invented"), back)


def test_slices_of_joined_planes_are_decoded_separately() -> None:
    known = [invent(seed, size) for seed, size in enumerate((3, 1, 0, 8))]
    parts = [encode_atoms(positions, mask, 0.001) for positions, mask in known]
    names = ("anchors", "others")
    joined = {name: join_planes([part[name] for part in parts]) for name in names}
    start = dict.fromkeys(names, 0)
    for (_, mask), part in zip(known, parts, strict=True):
        own = {"step": part["step"]}
        for name in names:
            end = start[name] + part[name].shape[2]
            own[name] = joined[name][..., start[name] : end]
            start[name] = end
        assert decode_atoms(own, mask).tobytes() == decode_atoms(part, mask).tobytes()


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.integers(0, 9), st.sampled_from([1.0, 0.01]))
def test_pae_comes_back(seed: int, size: int, step: float) -> None:
    pae = np.random.default_rng(seed).uniform(0, 31.75, (size, size))
    arrays = encode_pae(pae, step)
    back = decode_pae(stored(arrays))
    assert back.shape == pae.shape
    assert np.abs(back - pae).max(initial=0) <= step / 2 + 1e-9
    assert decode_pae(encode_pae(back, step)).tobytes() == back.tobytes()
    assert arrays["pae.rows"].nbytes <= pae.size * (1 if step == 1.0 else 2)
    for dtype in (np.float32, np.float64):
        exact = decode_pae(stored(encode_pae(pae.astype(dtype), None)))
        assert exact.dtype == dtype
        assert exact.tobytes() == pae.astype(dtype).tobytes()


@given(SEEDS, st.lists(st.integers(0, 4), max_size=3))
def test_floats_of_any_shape_come_back(seed: int, shape: list[int]) -> None:
    for dtype in (np.float32, np.float64):
        values = np.random.default_rng(seed).normal(size=shape).astype(dtype)
        planes = split_floats(np.asarray(values))
        assert planes.shape == (np.dtype(dtype).itemsize, *shape)
        back = join_floats(planes)
        assert (back.dtype, back.tobytes()) == (dtype, values.tobytes())


def test_every_difference_of_a_whole_residue_is_a_bond(trypsin: Structure) -> None:
    whole = ((ATOM37_MASK[trypsin.aatype] > 0) == trypsin.atom_mask).all(axis=1)
    residues = trypsin.select(whole)
    assert set(range(20)) <= set(residues.aatype.tolist())
    arrays = encode_atoms(residues.atom_positions, residues.atom_mask, 0.02)
    assert len(arrays["others"]) == 1
    lengths = np.linalg.norm(arrays["others"][0].astype(float) * 0.02, axis=0)
    assert lengths.shape == (residues.atom_mask.sum() - len(residues),)
    assert lengths.min() > 1.0
    assert lengths.max() < 2.0


@pytest.mark.parametrize(("step", "bytes_per_atom"), [(0.001, 5.3), (0.005, 4.4), (0.02, 3.1)])
def test_real_atoms_take_few_bytes(trypsin: Structure, step: float, bytes_per_atom: float) -> None:
    arrays = encode_atoms(trypsin.atom_positions, trypsin.atom_mask, step)
    assert packed_size(arrays) / trypsin.atom_mask.sum() < bytes_per_atom


def test_planes_of_floats_compress_better_than_floats(trypsin: Structure) -> None:
    noise = np.random.default_rng(0).uniform(-5e-4, 5e-4, trypsin.atom_positions.shape)
    atoms = np.where(trypsin.atom_mask[..., None], trypsin.atom_positions + noise, 0)
    atoms = atoms.astype(np.float32)
    planes = packed_size(encode_atoms(atoms, trypsin.atom_mask, None))
    assert planes < 0.85 * len(zlib.compress(atoms.tobytes(), 9))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.1 * MAX_STEPS])
def test_atoms_out_of_range_are_refused(value: float) -> None:
    positions, mask = np.full((1, 37, 3), value), np.ones((1, 37), bool)
    with pytest.raises(ValueError, match="not finite or is out of range"):
        encode_atoms(positions, mask, 1.0)
    with pytest.raises(ValueError, match="not finite or is out of range"):
        encode_pae(positions[:, 0, :1], 1.0)


def test_the_largest_steps_come_back() -> None:
    positions, mask = np.zeros((2, 37, 3)), np.zeros((2, 37), bool)
    mask[:, [N, CA]] = True
    positions[:, N], positions[0, CA], positions[1, CA] = 1e9, -1e9, 1e9
    assert np.array_equal(decode_atoms(encode_atoms(positions, mask, 1.0), mask), positions)


@pytest.mark.parametrize("step", [0.0, -1.0, np.nan, np.inf])
def test_invalid_steps_are_refused(step: float) -> None:
    with pytest.raises(ValueError, match="step"):
        encode_atoms(np.zeros((1, 37, 3)), np.ones((1, 37), bool), step)


def test_invalid_types_are_refused(trypsin: Structure) -> None:
    with pytest.raises(ValueError, match="neither float32 nor float64"):
        split_floats(np.zeros(3, np.float16))
    with pytest.raises(ValueError, match="chain_id"):
        encode_structure(replace(trypsin, chain_id=trypsin.chain_id.astype(object)), None)


def other_bytes(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "U":
        return array.astype("S")
    return np.frombuffer(rng.bytes(array.nbytes), array.dtype).reshape(array.shape)


def damage(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """An array of another type, size or rank, or with other bytes."""
    text, rows = array.dtype.kind == "U", np.atleast_1d(array)
    others = (
        array.astype(rng.choice(["U3", "S2"] if text else ["f4", "f8", "i1", "i8", "u1", "bool"])),
        array[..., None],
        array.ravel(),
        np.array(None),
        np.array(-1.0),
        np.repeat(rows, 9, axis=0),
        rows[1:],
        rows[..., :-1],
        other_bytes(rng, array),
    )
    return others[rng.integers(len(others))]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of casts to another type
@settings(max_examples=500, deadline=None)
@given(SEEDS, st.sampled_from([None, 0.001, 0.02]))
def test_damage_is_one_error(seed: int, step: float | None) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 6))
    pae = rng.uniform(0, 31, (size, size))
    arrays = encode_structure(invent_structure(seed, size), step) | encode_pae(pae, step)
    name = str(rng.choice(list(arrays)))
    if rng.random() < 0.1:
        del arrays[name]
    else:
        arrays[name] = damage(rng, arrays[name])
    for decode in (lambda: decode_structure(arrays, ""), lambda: decode_pae(arrays)):
        try:
            found = decode()
        except ValueError:
            continue
        if isinstance(found, Structure):
            count = len(arrays["atom_mask"])
            assert found.atom_positions.shape == (count, 37, 3)
            assert found.b_factor.shape == found.atom_mask.shape == (count, 37)
            assert len(found.sequence) == len(found.residue_number) == len(found.chain_id) == count
        else:
            assert found.shape == arrays["pae.rows" if step else "pae.exact"].shape[1:]


def test_missing_arrays_are_named(tmp_path: Path) -> None:
    arrays = encode_structure(invent_structure(0, 3), 0.001)
    for name in arrays:
        less = {key: array for key, array in arrays.items() if key != name}
        with pytest.raises(ValueError, match=rf"{name.split('.')[-1]} is missing"):
            decode_structure(less, "")
