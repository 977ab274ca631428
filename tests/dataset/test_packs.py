"""Packs are read back as written, and as other readers of the same data read them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmarks.chain_query import query_of, structure_of

from foldry.dataset import packs
from foldry.dataset.packs import (
    STEP,
    Library,
    Pack,
    read_chain,
    read_lengths,
    read_table,
    structure_arrays,
    write_pack,
)
from foldry.errors import InputError
from foldry.residues import CA, GAP
from tests.train.synthetic import World, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("packs"))


@pytest.fixture(scope="module")
def library(world: World) -> Library:
    return Library(world.folder, ["train"])


def test_chains_and_alignments_come_back(world: World, library: Library) -> None:
    for name in world.lengths:
        chain = library.chain(name)
        assert np.array_equal(chain.aatype, world.aatype[name])
        assert np.array_equal(chain.mask, world.mask[name])
        np.testing.assert_allclose(chain.positions, world.positions[name], atol=0.003)
        msa, deletions = library.alignment(name)
        assert np.array_equal(msa, world.msa[name])
        assert np.array_equal(deletions, world.deletions[name])


def test_chains_that_are_packed_come_back(library: Library, tmp_path: Path) -> None:
    chains = {name: library.chain(name) for name in library.structures.place}
    whole, none = chains["c1"], np.arange(3) == 1
    far = whole.positions[:3] + np.float32(900)
    scarce = whole.mask[:3] * ~none[:, None] * (np.arange(37) != CA)
    first = whole.window(np.arange(3))
    # One of its residues has no atoms, none has Cα.
    chains = {
        "scarce": replace(first, positions=far * (scarce > 0)[..., None], mask=scarce)
    } | chains
    path = tmp_path / "structures.npz"
    write_pack(path, structure_arrays(chains))
    pack = Pack([path])
    for name, chain in chains.items():
        back = read_chain(*pack.find(name))
        for field in ("aatype", "residue_index", "mask", "plddt"):
            assert np.array_equal(getattr(back, field), getattr(chain, field))
        assert back.positions.dtype == np.float32
        np.testing.assert_allclose(back.positions, chain.positions, atol=STEP / 2 + 1e-4, rtol=0)
    again = structure_arrays({name: read_chain(*pack.find(name)) for name in chains})
    np.testing.assert_equal(again, pack.shards[0])


def test_a_pack_of_another_layout_is_refused(library: Library) -> None:
    arrays = structure_arrays({"c1": library.chain("c1")})
    with pytest.raises(ValueError, match="another version"):
        read_chain(arrays | {"layout": np.array("compact-9")}, 0)
    with pytest.raises(ValueError, match="the mask"):
        read_chain(arrays | {"atom_offsets": np.array([0, 1])}, 0)


def test_nmr_is_recognised_by_its_method(tmp_path: Path) -> None:
    library = Library(write_world(tmp_path).folder, ["train"])
    for arrays in library.structures.shards:
        methods = ("", "SOLUTION NMR", "NMR, 20 STRUCTURES", "X-RAY DIFFRACTION", "NMR; X-RAY")
        arrays["method"] = np.array([methods[k % 5] for k in range(len(arrays["ids"]))])
        arrays["resolution"][4] = 2.0
    expected = [np.nan, 0, 0, np.nan, 2]
    np.testing.assert_equal([library.chain(f"c{k}").resolution for k in range(5)], expected)


def test_a_hit_is_laid_on_its_query(world: World, library: Library) -> None:
    hit = library.hits("c0")[1]
    assert (hit.name, round(hit.identity, 6)) == ("c2", 0.4)
    here = [*range(2, 22), *range(25, 28)]
    assert hit.pairs.tolist() == [
        *([query, query - 2] for query in range(2, 22)),
        *([query, query] for query in range(25, 28)),
    ]
    laid = library.lay_hit("c0", hit)
    assert np.flatnonzero(laid.aatype != GAP).tolist() == here
    assert np.array_equal(laid.aatype[here], world.aatype["c2"][hit.pairs[:, 1]])
    np.testing.assert_allclose(
        laid.positions[here], world.positions["c2"][hit.pairs[:, 1]], atol=0.003
    )
    assert laid.mask.sum() == world.mask["c2"][hit.pairs[:, 1]].sum()


def test_a_query_of_a_chain(world: World, library: Library) -> None:
    query = query_of(library, "c4", num_templates=2)
    (chain,) = query.chains
    assert chain.sequence == structure_of(library, "c4").sequence
    assert chain.alignment is not None
    assert chain.alignment.sequences[0] == chain.sequence
    assert len(chain.alignment.sequences) == len(world.msa["c4"])
    assert [hit.name for hit in chain.templates] == ["c5", "c6"]
    # The third is a copy.
    assert query_of(library, "c4", num_templates=3).chains[0].templates[2:] == ()
    alone = query_of(library, "c4", alignment=False).chains[0]
    assert alone.alignment is not None
    assert alone.alignment.sequences == (chain.sequence,)


def test_missing_and_damaged_packs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give the folder of the packs"):
        Library(tmp_path, ["train"])
    world = write_world(tmp_path)
    broken = world.folder / "msas" / "msas-train.npz"
    broken.write_bytes(broken.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"msas-train\.npz is not a readable pack"):
        Library(tmp_path, ["train"])
    table = tmp_path / "ragged.tsv"
    table.write_text("a\tb\n1\n", "utf-8")
    with pytest.raises(InputError, match=r"ragged\.tsv, line 2, has 1 cell where .* has 2"):
        read_table(table)
    table.write_text("a\tb\n1\t2\n", "utf-8")
    with pytest.raises(InputError, match=r"ragged\.tsv has no column 'id'"):
        read_table(table, "id", "a")
    table.write_text("id\tlength\nc1\t-5\n", "utf-8")
    with pytest.raises(InputError, match=r"line 2, has the length '-5'"):
        read_lengths(table)


FREE = ("anchors", "others", "target_ids")
"""Arrays whose first axis may have any length."""
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "another type": lambda array: np.zeros(array.shape, "S1"),
    "another type of number": lambda array: array.astype("c16"),
    "no axis": lambda array: np.array(1),
    "one axis more": lambda array: array[None],
    "twice as long": lambda array: np.concatenate([array, array]),
    "shorter": lambda array: array[:-1],
}


@pytest.fixture(scope="module")
def packs_of_all_layouts(world: World, library: Library) -> list[dict[str, np.ndarray]]:
    """The arrays of a pack of each kind, and of structures in the present layout."""
    each = (library.structures, library.alignments, library.templates)
    chains = {name: library.chain(name) for name in list(world.lengths)[:3]}
    return [*(pack.shards[0] for pack in each), structure_arrays(chains)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_pack_with_other_arrays_is_refused_when_it_is_read(
    packs_of_all_layouts: list[dict[str, np.ndarray]], tmp_path: Path, change: str
) -> None:
    path = tmp_path / "pack.npz"
    for arrays in packs_of_all_layouts:
        for name, array in arrays.items():
            if array.dtype.kind == "U" and "type" in change:
                continue
            if not array.ndim and change != "one axis more":
                continue
            if name in FREE and change in ("twice as long", "shorter"):
                continue
            np.savez(path, **{**arrays, name: CHANGES[change](array)})
            with pytest.raises(InputError, match=r"pack\.npz is not a readable pack"):
                Pack([path])


def test_names_that_are_not_text_are_refused(
    packs_of_all_layouts: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    path = tmp_path / "pack.npz"
    for arrays in packs_of_all_layouts:
        ids = arrays["ids"].copy()
        ids.view(np.uint32)[0] = 2**31
        np.savez(path, **{**arrays, "ids": ids})
        with pytest.raises(InputError, match="ids is not text"):
            Pack([path])


def test_offsets_ascend_and_stay_within_their_arrays(
    packs_of_all_layouts: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    path = tmp_path / "pack.npz"
    for arrays in packs_of_all_layouts:
        for name in arrays:
            if not name.endswith("offsets"):
                continue
            for place, value in ((0, -1), (-1, 10**9), (1, arrays[name][-1])):
                ends = arrays[name].copy()
                ends[place] = value
                np.savez(path, **{**arrays, name: ends})
                with pytest.raises(InputError, match=f"{name} (do not ascend|do not span)"):
                    Pack([path])


def test_a_pack_without_an_array_is_refused(
    packs_of_all_layouts: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    path = tmp_path / "pack.npz"
    for arrays in packs_of_all_layouts:
        for name in set(arrays) - {"plddt", "method"}:
            np.savez(path, **{key: arrays[key] for key in arrays if key != name})
            with pytest.raises(InputError, match="has no array"):
                Pack([path])


def test_a_small_pack_does_not_take_much_memory(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "FREE_SIZE", free := 2**22)
    path = tmp_path / "pack.npz"
    alignments = library.alignments.shards[0]
    write_pack(path, alignments | {"residues": np.zeros(free + 1, np.uint8)})
    assert path.stat().st_size * packs.MAX_RATIO < free
    with pytest.raises(InputError, match="it holds more than"):
        Pack([path])
    for name, depth, length in (("deep", 2**30, 0), ("long", 0, 2**30), ("wrong", 2**30, 2**30)):
        changed = Library.__new__(Library)
        changed.alignments = Pack.__new__(Pack)
        arrays = {**alignments, "depth": alignments["depth"].copy()}
        arrays["length"] = alignments["length"].copy()
        arrays["depth"][0], arrays["length"][0] = depth, length
        if name != "wrong":
            arrays["cell_offsets"] = np.maximum(arrays["cell_offsets"], arrays["cell_offsets"][1])
        changed.alignments.shards, changed.alignments.place = [arrays], {"c0": (0, 0)}
        with pytest.raises(InputError, match="c0 is missing or damaged"):
            changed.alignment("c0")


def test_a_wrong_byte_causes_no_traceback(tmp_path: Path) -> None:
    world = write_world(tmp_path)
    path = world.folder / "templates" / "templates-train.npz"
    with np.load(path) as archive:
        np.savez_compressed(path, **dict(archive))
    sound = path.read_bytes()
    refused = 0
    for place in range(0, len(sound), len(sound) // 40):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0xFF]) + sound[place + 1 :])
        try:
            Library(tmp_path, ["train"])
        except InputError:
            refused += 1
    assert refused > 20


def test_numbers_of_another_size_are_read_or_refused(tmp_path: Path) -> None:
    library = Library(write_world(tmp_path).folder, ["train"])
    expected = library.chain("c4").positions
    structures, _ = library.structures.find("c4")
    structures["atom_coords_low"] = structures["atom_coords_low"].astype(np.uint64)
    assert np.array_equal(library.chain("c4").positions, expected)
    templates, _ = library.templates.find("c4")
    templates["query_start"] = np.full(len(templates["query_start"]), 2**64 - 1, np.uint64)
    with pytest.raises(InputError, match="c4 is missing or damaged"):
        library.hits("c4")


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    library = Library(write_world(tmp_path).folder, ["train"])
    structures, row = library.structures.find("c4")
    structures["aatype"][structures["offsets"][row]] = 99
    library.alignments.find("c4")[0]["depth"][row] = 0
    hit = library.hits("c5")[0]
    templates, _ = library.templates.find("c4")
    templates["target"][12] = 999
    cigar = slice(*templates["cigar_offsets"][[18, 19]])  # the first hit of c6
    templates["cigar"][cigar] = np.frombuffer(b"20D3I5D3I", np.uint8)
    for read, name in (
        (library.chain, "c4"),
        (library.alignment, "c4"),
        (library.hits, "c4"),
        (library.chain, "none"),
        (library.alignment, "none"),
        (library.hits, "none"),
        (library.hits, "c6"),
        (lambda name: library.lay_hit(name, replace(hit, pairs=hit.pairs + 999)), "c5"),
    ):
        with pytest.raises(InputError, match=f"{name} is missing or damaged .*make its pack again"):
            read(name)


def reader(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_packs_own_readers_agree(data_dir: Path) -> None:
    library = Library(data_dir, ["val"])
    shard = reader(data_dir / "structures" / "read_structures.py").load_shard(
        data_dir / "structures" / "structures-val.npz"
    )
    msas = reader(data_dir / "msas" / "read_msas.py").MsaPack(data_dir / "msas" / "msas-val.npz")
    hits = reader(data_dir / "templates" / "read_templates.py").TemplateHits(
        data_dir / "templates" / "templates-val.npz"
    )
    for name in shard.ids[::7]:
        chain, theirs = library.chain(name), shard[name]
        assert np.array_equal(chain.mask, theirs["atom_mask"])
        assert np.array_equal(chain.residue_index, theirs["residue_index"])
        np.testing.assert_allclose(chain.positions, theirs["atom_positions"], atol=2e-5)
        msa, deletions = library.alignment(name)
        assert np.array_equal(msa, msas[name]["msa"])
        assert np.array_equal(deletions, msas[name]["deletion_matrix"])
        for ours, other in zip(library.hits(name), hits[name], strict=True):
            assert ours.name == other["target"]
            assert np.array_equal(ours.pairs, other["pairs"])


def test_a_table_has_a_line_for_each_row_whatever_its_text(tmp_path: Path) -> None:
    packs.write_table(tmp_path / "t.tsv", [{"id": "a\tb\n\x1b[2J", "length": 5}])
    assert (tmp_path / "t.tsv").read_text() == "id\tlength\na\\tb\\n\\x1b[2J\t5\n"
