"""What is imported of each program's results, against gemmi and what was written."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import gemmi
import numpy as np
import pytest

from foldry.database.database import Database
from foldry.database.imports.run import ImportOptions, Outcome, import_paths
from foldry.formats.a3m import parse_a3m
from foldry.formats.coordinates import to_pdb
from foldry.formats.plain_mmcif import to_mmcif
from foldry.residues import ATOM37_ORDER
from tests.database.conftest import Make
from tests.database.imports import layouts
from tests.database.imports.layouts import Example, dimer, monomer

Write = Callable[[Path, Callable[[int], Example]], Path]

LAYOUTS: dict[str, tuple[Write, str, int]] = {
    "alphafold2": (layouts.alphafold2, "AlphaFold", 2),
    "colabfold": (layouts.colabfold, "ColabFold", 2),
    "old_colabfold": (layouts.old_colabfold, "ColabFold", 2),
    "alphafold3": (layouts.alphafold3, "AlphaFold 3", 2),
    "old_alphafold3": (partial(layouts.alphafold3, old=True), "AlphaFold 3", 2),
    "server": (layouts.server, "AlphaFold 3", 2),
    "boltz": (layouts.boltz, "Boltz", 2),
    "boltz2": (partial(layouts.boltz, shares=False), "Boltz", 2),
    "chai": (layouts.chai, "Chai", 2),
}
"""How each layout is written, its program, and the number of models."""


def imported(database: Database, *paths: Path, **options: object) -> list[Outcome]:
    """Import paths; none of the predictions may be refused."""
    found = list(import_paths(database, paths, ImportOptions(**options)))  # type: ignore[arg-type]
    assert [each.problem for each in found] == [""] * len(found)
    return found


def gemmi_atoms(path: Path) -> dict[tuple[str, int, str], tuple[float, ...]]:
    """Return the coordinates of protein atoms by chain, residue number and name, by gemmi."""
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    return {
        (chain.name, residue.seqid.num or 0, atom.name): tuple(atom.pos.tolist())
        for chain in structure[0]
        for residue in chain
        if gemmi.find_tabulated_residue(residue.name).is_amino_acid()
        for atom in residue
    }


def check_model(database: Database, example: Example, path: Path, rank: int = 0) -> None:
    """Compare a stored model with gemmi's atoms, and with the pLDDT and PAE that were written."""
    [entry] = database.entries()
    model = database.model(entry, rank=rank)
    structure, size = model.record.structure, len(example.structure)
    assert structure.sequence == example.structure.sequence
    expected = gemmi_atoms(path)
    found = {
        (str(structure.chain_id[row]), int(structure.residue_number[row]), name): tuple(
            structure.atom_positions[row, slot].tolist()
        )
        for row in range(size)
        for name, slot in ATOM37_ORDER.items()
        if structure.atom_mask[row, slot]
    }
    assert found.keys() == expected.keys()
    for key, place in expected.items():
        assert np.allclose(found[key], place, atol=6e-4)
    np.testing.assert_allclose(model.record.plddt, example.plddt, atol=6e-3)
    assert model.pae is not None
    step = 0.5 if len(structure.chains) == 1 else 0.005
    np.testing.assert_allclose(model.pae, example.pae, atol=step + 1e-5)


@pytest.mark.parametrize(
    ("layout", "example"),
    [*((each, dimer) for each in LAYOUTS), ("colabfold", monomer), ("alphafold2", monomer)],
)
def test_a_folder(
    layout: str, example: Callable[[int], Example], tmp_path: Path, sqlite_database: Database
) -> None:
    write, tool, number = LAYOUTS[layout]
    structure = write(tmp_path / "in" / "job_1", example)
    [outcome] = imported(sqlite_database, tmp_path / "in")
    assert outcome.published is not None and outcome.published.is_new
    [entry] = sqlite_database.entries()
    assert (entry.tool, entry.provider) == (tool, "Example Lab")
    assert len(entry.latest.digests) == number
    check_model(sqlite_database, example(0), structure)
    other = sqlite_database.model(entry, rank=1)
    np.testing.assert_allclose(other.record.plddt, example(1).plddt, atol=6e-3)
    found = [parse_a3m(each.decode()) for each in sqlite_database.alignments(entry)]
    rows = [parse_a3m(layouts.alignment(each.sequence)) for each in entry.chains]
    kept = layout in ("alphafold2", "colabfold", "alphafold3", "old_alphafold3", "server")
    assert [each.texts for each in found] == [each.texts for each in rows if kept]
    if layout != "alphafold2":
        assert entry.latest.scores["ptm"] == pytest.approx(0.61)


@pytest.mark.parametrize("layout", ["alphafold2", "colabfold", "alphafold3", "server", "boltz"])
def test_an_archive_is_the_same_prediction(
    layout: str, tmp_path: Path, sqlite_database: Database
) -> None:
    """A zip, a tar and a packed tar hold what the folder holds."""
    LAYOUTS[layout][0](tmp_path / "in" / "job_1", dimer)
    files = [path for path in sorted((tmp_path / "in").rglob("*")) if path.is_file()]
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in reversed(files):
            archive.write(path, path.relative_to(tmp_path / "in"))
    for name, mode in (("a.tar", "w"), ("a.tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as tar:  # type: ignore[call-overload]
            for path in reversed(files):
                tar.add(path, path.relative_to(tmp_path / "in"))
    [first] = imported(sqlite_database, tmp_path / "a.zip")
    state = sqlite_database.state
    others = imported(sqlite_database, tmp_path / "in", tmp_path / "a.tar", tmp_path / "a.tar.gz")
    assert [each.published.is_new for each in others if each.published] == [False] * 3
    assert sqlite_database.state == state
    [entry] = sqlite_database.entries()
    assert first.published is not None and first.published.entry_id == entry.entry_id
    assert len(entry.latest.alignments) == (0 if layout == "boltz" else 2)


def test_names_of_entries(tmp_path: Path, sqlite_database: Database) -> None:
    """Several jobs of ColabFold share a folder, and several of the server an archive."""
    layouts.colabfold(tmp_path / "a", monomer, "q")
    layouts.colabfold(tmp_path / "a", lambda rank: monomer(rank + 5), "q_1")
    layouts.server(tmp_path / "b" / "abl1", dimer)
    layouts.server(tmp_path / "b" / "src", lambda rank: dimer(rank + 4), "src_2")
    with zipfile.ZipFile(tmp_path / "folds.zip", "w") as archive:
        for path in (tmp_path / "b").rglob("*.*"):
            archive.write(path, path.relative_to(tmp_path / "b"))
    imported(sqlite_database, tmp_path / "a", tmp_path / "folds.zip")
    entries = list(sqlite_database.entries())
    assert sorted(each.name for each in entries) == ["abl1", "q", "src_2"]
    assert [len(each.versions) for each in entries if each.name == "q"] == [2]


def test_samples_of_alphafold3_alone(tmp_path: Path, sqlite_database: Database) -> None:
    """The ranking says which one is the best."""
    layouts.alphafold3(tmp_path / "job", dimer, old=True)
    for path in (tmp_path / "job").glob("job_*"):
        path.unlink()
    imported(sqlite_database, tmp_path / "job")
    [entry] = sqlite_database.entries()
    assert (entry.name, len(entry.latest.digests)) == ("job", 2)
    found = sqlite_database.model(entry).record
    np.testing.assert_allclose(found.plddt, dimer(0).plddt, atol=6e-3)
    assert found.prediction.parameters == {"seed": 12, "sample": 1}


def test_colabfold_says_more(tmp_path: Path, sqlite_database: Database) -> None:
    layouts.colabfold(tmp_path / "q", monomer)
    imported(sqlite_database, tmp_path / "q")
    [entry] = sqlite_database.entries()
    assert entry.latest.tool_version == "1.5.5"
    assert entry.latest.model_name == "alphafold2_ptm_model_4"
    model = sqlite_database.model(entry)
    assert model.max_pae == 31.75
    assert model.record.prediction.parameters["seed"] == 1
    expected = layouts.alignment(monomer(0).structure.sequence)
    assert sqlite_database.alignments(entry) == [expected.encode()]


@pytest.mark.parametrize(
    ("tag", "network"),
    [
        ("model_3_rank_1", "model_3"),
        ("alphafold2_multimer_v3_model_4_seed_007", "alphafold2_multimer_v3_model_4"),
        ("rank_01_deepfold_v1_seed_007", "deepfold_v1"),
    ],
)
def test_other_names_of_colabfold(
    tag: str, network: str, tmp_path: Path, sqlite_database: Database
) -> None:
    layouts.colabfold(tmp_path / "q", dimer)
    for path in (tmp_path / "q").glob("*rank_002*"):
        path.unlink()
    for path in (tmp_path / "q").glob("*rank_001*"):
        name = path.name.replace("rank_001_alphafold2_ptm_model_4_seed_001", tag)
        path.rename(path.with_name(name))
    imported(sqlite_database, tmp_path / "q")
    [entry] = sqlite_database.entries()
    parameters = sqlite_database.model(entry).record.prediction.parameters
    assert (entry.latest.model_name, entry.latest.scores["ptm"]) == (network, 0.61)
    assert parameters == ({"seed": 7} if "seed" in tag else {})


def test_ligands_are_left_out(tmp_path: Path, sqlite_database: Database) -> None:
    layouts.server(tmp_path / "in", monomer)
    [outcome] = imported(sqlite_database, tmp_path / "in")
    assert [each.rpartition(": ")[2] for each in outcome.notes] == [
        f"{layouts.LIGAND_ATOMS} tokens of other molecules are left out."
    ] * 2


def test_pickles_are_not_opened(
    tmp_path: Path, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layouts.alphafold2(tmp_path / "q", monomer)
    for path in (tmp_path / "q").glob("pae_*.json"):
        path.unlink()
    [outcome] = imported(sqlite_database, tmp_path / "q")
    assert outcome.notes == (
        f"{tmp_path}/q: the PAE is only in pickle files, which are not opened.",
    )
    assert not (tmp_path / "opened").exists()
    [entry] = sqlite_database.entries()
    assert not entry.latest.has_pae


@pytest.mark.parametrize(
    ("version", "packed"), [(1, False), (2, True), (3, False), (4, True), (6, True)]
)
def test_alphafold_db(
    version: int, packed: bool, tmp_path: Path, sqlite_database: Database
) -> None:
    """Files keep their id and version; the provider is AlphaFold DB."""
    example = monomer()
    for name, content in layouts.afdb_files(example, version=version):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    path = tmp_path / "in" / f"AF-P00520-F1-model_v{version}.cif"
    source = path.parent
    if packed:
        source = tmp_path / "UP000000589_10090_MOUSE.tar"
        with tarfile.open(source, "w") as tar:
            tar.add(path.parent, "")
    [outcome] = imported(sqlite_database, source)
    assert outcome.published is not None
    assert (outcome.published.entry_id, outcome.published.version) == ("AF-P00520-F1", version)
    [entry] = sqlite_database.entries()
    assert (entry.accession, entry.tool, entry.provider) == ("P00520", "AlphaFold", "AlphaFold DB")
    facts = entry.facts
    assert (facts.gene, facts.organism, facts.tax_id) == ("Abl1", "Mus musculus", 10090)
    assert (facts.uniprot_id, facts.description) == ("ABL1_MOUSE", "Tyrosine-protein kinase ABL1")
    assert (entry.latest.tool_version, entry.latest.created[:4]) == ("v2.0", f"202{version}")
    check_model(sqlite_database, example, path)


@pytest.mark.parametrize("suffix", ["cif", "bcif", "pdb"])
def test_each_format_of_alphafold_db(
    suffix: str, tmp_path: Path, sqlite_database: Database
) -> None:
    example = monomer()
    files = dict(layouts.afdb_files(example, "AF-P00520-4-F2", 3))
    for name in (
        f"AF-P00520-4-F2-model_v3.{suffix}",
        "AF-P00520-4-F2-predicted_aligned_error_v3.json",
        "AF-P00520-4-F2-confidence_v3.json",
    ):
        (tmp_path / name).write_bytes(files[name])
    imported(sqlite_database, *tmp_path.glob("AF-*"))
    [entry] = sqlite_database.entries()
    assert (entry.entry_id, entry.accession, entry.fragment) == ("AF-P00520-4-F2", "P00520-4", 2)
    (tmp_path / "oracle.pdb").write_bytes(files["AF-P00520-4-F2-model_v3.pdb"])
    check_model(sqlite_database, example, tmp_path / "oracle.pdb")


def test_the_next_version_follows_an_imported_one(
    tmp_path: Path, sqlite_database: Database
) -> None:
    for seed, version in ((0, 4), (1, 6)):
        for name, content in layouts.afdb_files(monomer(seed), version=version):
            (tmp_path / name).write_bytes(content)
    imported(sqlite_database, tmp_path)
    [entry] = sqlite_database.entries()
    assert [each.number for each in entry.versions] == [4, 6]


def test_a_foldry_folder(tmp_path: Path, sqlite_database: Database) -> None:
    """The content key is that of the results; a changed file is refused."""
    source = Path(__file__).parents[2] / "golden" / "results" / "fold" / "q"
    imported(sqlite_database, source)
    [entry] = sqlite_database.entries()
    assert (entry.tool, entry.name, len(entry.latest.digests)) == ("Foldry", "q", 2)
    copy = tmp_path / "q"
    copy.mkdir()
    for path in source.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with (copy / "ranked_1.cif").open("a") as file:
        file.write("# changed\n")
    [outcome] = import_paths(sqlite_database, [copy])
    assert outcome.problem == (
        f"{copy}/ranked_1.cif was changed after it had been written: predict it again."
    )


def test_the_original_is_kept(tmp_path: Path, sqlite_database: Database) -> None:
    path = layouts.afdb(tmp_path / "in", monomer, packed=False)
    imported(sqlite_database, tmp_path / "in", keep_original=True)
    [entry] = sqlite_database.entries()
    assert sqlite_database.objects.get(entry.latest.original) == path.read_bytes()


def test_exact_errors(tmp_path: Path, make_sqlite: Make) -> None:
    database = make_sqlite(exact_pae=True)
    layouts.colabfold(tmp_path / "q", monomer)
    imported(database, tmp_path / "q")
    [entry] = database.entries()
    pae = database.model(entry).pae
    assert pae is not None
    np.testing.assert_allclose(pae, monomer(0).pae, atol=0.05 + 1e-5)


def test_options(tmp_path: Path, sqlite_database: Database) -> None:
    layouts.colabfold(tmp_path / "q", monomer)
    options = {"provider": "Other Lab", "accession": "P00520-2", "keep_alignments": False}
    imported(sqlite_database, tmp_path / "q", **options)
    [entry] = sqlite_database.entries()
    assert (entry.provider, entry.entry_id) == ("Other Lab", "AF-P00520-2-F1")
    assert entry.latest.alignments == ()


def test_plain_files(tmp_path: Path, sqlite_database: Database) -> None:
    one, two = monomer(1), dimer(2)
    (tmp_path / "one.pdb").write_text("TITLE     ESMFOLD V1 PREDICTION\n" + to_pdb(one.structure))
    (tmp_path / "two.cif").write_text(to_mmcif(two.structure))
    buffer = io.BytesIO()
    np.save(buffer, two.pae)
    (tmp_path / "pae_two.npy").write_bytes(buffer.getvalue())
    imported(sqlite_database, tmp_path)
    found = {each.name: each for each in sqlite_database.entries()}
    assert (found["one"].tool, found["two"].tool) == ("ESMFold", "unknown")
    assert (found["one"].latest.has_pae, found["two"].latest.has_pae) == (False, True)


def test_plddt_of_each_atom(tmp_path: Path, sqlite_database: Database) -> None:
    """Chai and AlphaFold 3 write the pLDDT of each atom; that of Cα counts, as for their models."""
    one, two = monomer(1), monomer(2)
    text, _ = layouts._with_ligand(two, metrics=False)
    noisy = [
        replace(
            each.structure,
            b_factor=np.where(
                each.structure.atom_mask,
                np.clip(each.structure.b_factor + np.linspace(-5, 1, 37).round(2), 1, 100),
                0.0,
            ),
        )
        for each in (one, two)
    ]
    folder = tmp_path / "query"
    folder.mkdir()
    (folder / "pred.model_idx_0.cif").write_text(to_mmcif(noisy[0]))
    np.savez(folder / "scores.model_idx_0.npz", aggregate_score=np.array([0.4], np.float32))
    (tmp_path / "server.cif").write_text(text)
    (tmp_path / "anyone.cif").write_text(to_mmcif(noisy[1]))
    *outcomes, refused = sorted(
        import_paths(sqlite_database, [tmp_path]), key=lambda each: each.problem
    )
    assert [each.problem for each in outcomes] == ["", ""]
    assert "has B factors that differ within residues, and names no program" in refused.problem
    found = {each.tool: sqlite_database.model(each).record for each in sqlite_database.entries()}
    of_ca = noisy[0].b_factor[:, ATOM37_ORDER["CA"]]
    assert np.allclose(found["Chai"].plddt, of_ca, atol=0.006)
    assert np.allclose(found["AlphaFold"].plddt, two.plddt, atol=0.006)
