"""Results as the programs write them: names of files, keys and shapes of their output."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np

from foldry.formats.afdb import confidence_json
from foldry.formats.coordinates import read_structure, to_pdb
from foldry.formats.model_record import ModelChain, ModelRecord, Reference, Step
from foldry.formats.modelcif import to_binarycif, to_modelcif
from foldry.formats.plain_mmcif import to_mmcif
from foldry.structure import Structure
from tests.conftest import ROOT

PICKLE = b"cos\nsystem\n(S'touch opened'\ntR."
"""Runs a program when it is opened."""


@dataclass(frozen=True)
class Example:
    """A predicted model.

    Attributes:
        structure: The atoms, with pLDDT as B factors.
        plddt: pLDDT of the residues.
        pae: Predicted aligned errors.
    """

    structure: Structure
    plddt: np.ndarray
    pae: np.ndarray


def monomer(seed: int = 0) -> Example:
    """Return a model of one chain."""
    return _example(_chain("A", 40, seed), seed)


def dimer(seed: int = 0) -> Example:
    """Return a model of two chains of different sequence."""
    one, two = _chain("A", 40, seed), _chain("B", 23, seed + 1)
    joined = [np.concatenate(pair) for pair in zip(_arrays(one), _arrays(two), strict=True)]
    return _example(Structure("dimer", *joined), seed)


def _arrays(structure: Structure) -> list[np.ndarray]:
    return list(vars(structure).values())[1:]


def _chain(name: str, size: int, seed: int) -> Structure:
    whole = read_structure(ROOT / "examples" / "kunitz" / "1adz.cif")
    part = whole.select(np.arange(seed % 5, seed % 5 + size) if name == "B" else np.arange(size))
    random = np.random.default_rng(seed)
    moved = part.atom_positions + random.normal(0, 0.2, (size, 37, 3)) + 40 * (name == "B")
    return replace(
        part,
        chain_id=np.full(size, name),
        residue_number=np.arange(1, size + 1),
        insertion_code=np.full(size, ""),
        atom_positions=np.where(part.atom_mask[..., None], np.round(moved, 3), 0.0),
    )


def _example(structure: Structure, seed: int) -> Example:
    random = np.random.default_rng(100 + seed)
    size = len(structure)
    plddt = np.round(random.uniform(35, 98, size), 2)
    pae = np.round(random.uniform(0.3, 31, (size, size)), 2)
    b_factor = np.where(structure.atom_mask, plddt[:, None], 0.0)
    return Example(replace(structure, b_factor=b_factor), plddt, pae)


def _sequences(example: Example) -> dict[str, str]:
    """Return the sequence of each chain."""
    structure = example.structure
    return {each: structure.chain(each).sequence for each in structure.chains}


def alphafold2(folder: Path, example: Callable[[int], Example]) -> Path:
    """Write a folder of AlphaFold 2's program, version 2.3, and return the best structure."""
    folder.mkdir(parents=True)
    names = [f"model_{n}_ptm_pred_0" for n in (3, 1)]
    for rank, name in enumerate(names):
        each = example(rank)
        for kind in (f"ranked_{rank}", f"relaxed_{name}", f"unrelaxed_{name}"):
            (folder / f"{kind}.pdb").write_text(to_pdb(each.structure))
        (folder / f"confidence_{name}.json").write_text(confidence_json(each.plddt))
        (folder / f"pae_{name}.json").write_text(_pae_json(each.pae))
        (folder / f"result_{name}.pkl").write_bytes(PICKLE)
    (folder / "features.pkl").write_bytes(PICKLE)
    (folder / "timings.json").write_text("{}")
    ranking = {"plddts": dict.fromkeys(names, 80.0), "order": names}
    (folder / "ranking_debug.json").write_text(json.dumps(ranking))
    sequences = _sequences(example(0))
    for chain, sequence in sequences.items():
        inner = folder / "msas" / (chain if sequences.keys() - {chain} else "")
        inner.mkdir(parents=True)
        row = f"-{sequence[1:4]}AC{sequence[4:]}"
        rows = f"q {sequence[:4]}--{sequence[4:]}\nUniRef90_r {row}\n"
        (inner / "uniref90_hits.sto").write_text(f"# STOCKHOLM 1.0\n\n{rows}//\n")
        (inner / "bfd_uniref_hits.a3m").write_text(f">q\n{sequence}\n")
        (inner / "pdb_hits.hhr").write_text("Query q\n")
    return folder / "ranked_0.pdb"


def alignment(sequence: str) -> str:
    """Return an alignment of two rows, the second with a gap and an insertion."""
    return f">101\n{sequence}\n>r\n-{sequence[1:4]}ac{sequence[4:]}\n"


def _pae_json(pae: np.ndarray, max_pae: float = 31.75) -> str:
    found = {"predicted_aligned_error": pae.tolist(), "max_predicted_aligned_error": max_pae}
    return json.dumps([found])


def colabfold(folder: Path, example: Callable[[int], Example], job: str = "q_1") -> Path:
    """Write a folder of ColabFold 1.5, with a relaxed best model, and return its structure."""
    folder.mkdir(parents=True, exist_ok=True)
    for rank in (1, 2):
        each = example(rank - 1)
        tag = f"rank_{rank:03}_alphafold2_ptm_model_{5 - rank}_seed_00{rank}"
        moved = replace(each.structure, atom_positions=each.structure.atom_positions + 1)
        before = each.structure if rank == 2 else moved
        (folder / f"{job}_unrelaxed_{tag}.pdb").write_text(to_pdb(before))
        if rank == 1:
            (folder / f"{job}_relaxed_{tag}.pdb").write_text(to_pdb(each.structure))
        scores = {
            "plddt": each.plddt.tolist(),
            "max_pae": 31.75,
            "pae": each.pae.tolist(),
            "ptm": 0.61,
            "iptm": 0.52,
        }
        (folder / f"{job}_scores_{tag}.json").write_text(json.dumps(scores))
    first = example(0)
    (folder / f"{job}.a3m").write_text(_of_colabfold(list(_sequences(first).values())))
    (folder / f"{job}_predicted_aligned_error_v1.json").write_text(_pae_json(first.pae))
    (folder / f"{job}_pae.png").write_bytes(b"\x89PNG")
    (folder / f"{job}.done.txt").touch()
    (folder / "config.json").write_text('{"num_models": 2, "version": "1.5.5"}')
    (folder / "log.txt").write_text("2024-05-01 Running colabfold 1.5.5 (abc)\n")
    search = folder / f"{job}_env" / "templates_101"
    search.mkdir(parents=True)
    (search / "1adz.cif").write_bytes((ROOT / "examples" / "kunitz" / "1adz.cif").read_bytes())
    return folder / f"{job}_relaxed_rank_001_alphafold2_ptm_model_4_seed_001.pdb"


def _of_colabfold(sequences: list[str]) -> str:
    """Return an a3m as ColabFold writes it: the chains side by side, then the rows of each."""
    lines = [
        f"#{','.join(str(len(each)) for each in sequences)}\t{','.join('1' for _ in sequences)}"
    ]
    if len(sequences) > 1:
        lines += [">101\t102", "".join(sequences)]
    for number, sequence in enumerate(sequences):
        before, after = (
            "-" * sum(map(len, each)) for each in (sequences[:number], sequences[number + 1 :])
        )
        rows = alignment(sequence).replace("101", str(101 + number)).splitlines()
        lines += [row if row.startswith(">") else before + row + after for row in rows]
    return "\n".join(lines) + "\n"


def old_colabfold(folder: Path, example: Callable[[int], Example]) -> Path:
    """Write a folder of ColabFold 1.3 and return the best structure."""
    folder.mkdir(parents=True)
    for rank in (1, 2):
        each, tag = example(rank - 1), f"rank_{rank}_model_{3 - rank}"
        (folder / f"q_unrelaxed_{tag}.pdb").write_text(to_pdb(each.structure))
        scores = {"plddt": each.plddt.tolist(), "max_pae": 31.75, "pae": each.pae.tolist()}
        (folder / f"q_unrelaxed_{tag}_scores.json").write_text(json.dumps({**scores, "ptm": 0.61}))
    return folder / "q_unrelaxed_rank_1_model_2.pdb"


LIGAND_ATOMS = 3


def _with_ligand(example: Example, metrics: bool = True) -> tuple[str, list[tuple[str, int]]]:
    """Return mmCIF with a ligand between the chains, and the chain and number of each token.

    Each atom has its own pLDDT, and that of Cα counts.
    """
    structure = example.structure
    random = np.random.default_rng(7)
    noise = random.uniform(-3, 1, structure.atom_mask.shape)
    noise[:, 1] = 0
    noisy = np.round(np.clip(structure.b_factor + noise, 1, 100), 2)
    written = replace(structure, b_factor=np.where(structure.atom_mask, noisy, 0.0))
    document = gemmi.cif.read_string(to_mmcif(written))
    block = document.sole_block()
    site = block.find_mmcif_category("_atom_site.")
    tags = [tag.partition(".")[2] for tag in site.tags]
    entities = block.find_mmcif_category("_entity.")
    kinds = {"id": str(len(entities) + 1), "type": "non-polymer"}
    entities.append_row([kinds.get(tag.partition(".")[2], ".") for tag in entities.tags])
    for number in range(LIGAND_ATOMS):
        values = {
            "group_PDB": "HETATM",
            "id": str(len(site) + 1),
            "type_symbol": "C",
            "label_atom_id": f"C{number}",
            "auth_atom_id": f"C{number}",
            "label_comp_id": "LIG",
            "auth_comp_id": "LIG",
            "label_asym_id": "L",
            "auth_asym_id": "L",
            "label_entity_id": kinds["id"],
            "auth_seq_id": "1",
            "Cartn_x": "80.0",
            "Cartn_y": str(1.4 * number),
            "Cartn_z": "80.0",
            "occupancy": "1.00",
            "B_iso_or_equiv": "55.00",
            "pdbx_PDB_model_num": "1",
        }
        site.append_row([values.get(tag, ".") for tag in tags])
    tokens = list(zip(structure.chain_id.tolist(), structure.residue_number.tolist(), strict=True))
    if metrics:
        loop = block.init_loop("_ma_qa_metric.", ["id", "mode", "name", "type"])
        loop.add_row(["1", "global", "pLDDT", "pLDDT"])
        loop.add_row(["2", "local", "pLDDT", "pLDDT"])
        tags = ["label_asym_id", "label_comp_id", "label_seq_id", "metric_id", "metric_value"]
        loop = block.init_loop("_ma_qa_metric_local.", [*tags, "model_id", "ordinal_id"])
        for row, (chain, number) in enumerate(tokens):
            name = gemmi.expand_one_letter(structure.sequence[row], gemmi.ResidueKind.AA)
            plddt = f"{example.plddt[row]:.2f}"
            loop.add_row([chain, name, str(number), "2", plddt, "1", str(row + 1)])
    block.set_pair("_software.name", "AlphaFold")
    return document.as_string(), [*tokens, *[("L", 1)] * LIGAND_ATOMS]


def _of_tokens(example: Example) -> np.ndarray:
    """Return the errors with rows and columns of the ligand's atoms."""
    size = len(example.pae)
    pae = np.full((size + LIGAND_ATOMS,) * 2, 30.0)
    pae[:size, :size] = example.pae
    return pae


def _confidences(example: Example, tokens: list[tuple[str, int]]) -> str:
    chains, numbers = zip(*tokens, strict=True)
    return json.dumps(
        {
            "atom_chain_ids": ["A"],
            "atom_plddts": [80.0],
            "contact_probs": [[1.0]],
            "pae": _of_tokens(example).tolist(),
            "token_chain_ids": chains,
            "token_res_ids": numbers,
        }
    )


def _summary(iptm: float | None = 0.52) -> str:
    return json.dumps(
        {
            "chain_iptm": [0.5],
            "chain_pair_iptm": [[0.9]],
            "chain_ptm": [0.6],
            "fraction_disordered": 0.1,
            "has_clash": 0.0,
            "iptm": iptm,
            "ptm": 0.61,
            "ranking_score": 0.7,
        }
    )


def alphafold3(folder: Path, example: Callable[[int], Example], old: bool = False) -> Path:
    """Write a folder of AlphaFold 3's program with two samples, and return the best structure.

    Until version 3.0.0, the files of samples were not named by the job.
    """
    job = folder.name
    folder.mkdir(parents=True)
    rows = []
    for sample, score in ((0, 0.4), (1, 0.7)):
        inner = folder / f"seed-12_sample-{sample}"
        inner.mkdir()
        prefix = "" if old else f"{job}_seed-12_sample-{sample}_"
        # The best one is the second sample.
        text, tokens = _with_ligand(example(1 - sample))
        for prefixed in (inner / prefix, *([folder / f"{job}_"] if sample else [])):
            path = str(prefixed) + ("/" if str(prefixed) == str(inner) else "")
            Path(f"{path}model.cif").write_text(text)
            Path(f"{path}confidences.json").write_text(_confidences(example(1 - sample), tokens))
            Path(f"{path}summary_confidences.json").write_text(_summary())
        rows.append([12, sample, score])
    ranking = folder / ("ranking_scores.csv" if old else f"{job}_ranking_scores.csv")
    with ranking.open("w", newline="") as file:
        csv.writer(file).writerows([["seed", "sample", "ranking_score"], *rows])
    proteins = [
        {"protein": {"id": chain, "sequence": sequence, "unpairedMsa": alignment(sequence)}}
        for chain, sequence in _sequences(example(0)).items()
    ]
    ligand = {"ligand": {"id": "L", "ccdCodes": ["LIG"]}}
    data = {"name": job, "sequences": [ligand, *proteins, {"rna": {"id": "R", "unpairedMsa": ""}}]}
    (folder / f"{job}_data.json").write_text(json.dumps(data))
    (folder / "TERMS_OF_USE.md").write_text("terms")
    return folder / f"{job}_model.cif"


def server(folder: Path, example: Callable[[int], Example], job: str = "abl1") -> Path:
    """Write a job of AlphaFold Server and return the best structure."""
    folder.mkdir(parents=True, exist_ok=True)
    for rank in (0, 1):
        text, tokens = _with_ligand(example(rank))
        (folder / f"fold_{job}_model_{rank}.cif").write_text(text)
        confidences = _confidences(example(rank), tokens)
        (folder / f"fold_{job}_full_data_{rank}.json").write_text(confidences)
        (folder / f"fold_{job}_summary_confidences_{rank}.json").write_text(_summary())
    (folder / f"fold_{job}_job_request.json").write_text('[{"name": "abl1"}]')
    (folder / "msas").mkdir(exist_ok=True)
    for chain, sequence in _sequences(example(0)).items():
        for kind, text in (("", f">query\n{sequence}\n"), ("un", alignment(sequence))):
            name = f"fold_{job}_{kind}paired_msa_chains_{chain.lower()}.a3m"
            (folder / "msas" / name).write_text(text)
    (folder / "templates").mkdir(exist_ok=True)
    template = folder / "templates" / f"fold_{job}_template_hit_0_chains_a.cif"
    template.write_bytes((ROOT / "examples" / "kunitz" / "1adz.cif").read_bytes())
    return folder / f"fold_{job}_model_0.cif"


def boltz(folder: Path, example: Callable[[int], Example], shares: bool = True) -> Path:
    """Write a run of Boltz and return the best structure.

    Args:
        folder: The folder, `boltz_results_x`.
        example: Returns the model of each rank.
        shares: Whether B factors are all 1, as of the first versions, which wrote pLDDT only into
            NumPy files.
    """
    inner = folder / "predictions" / "abl_1"
    inner.mkdir(parents=True)
    (folder / "processed" / "structures").mkdir(parents=True)
    np.savez(folder / "processed" / "structures" / "abl_1.npz", atoms=np.zeros(3))
    for rank in (0, 1):
        each = example(rank)
        structure = each.structure
        if shares:
            structure = replace(structure, b_factor=structure.atom_mask.astype(float))
        (inner / f"abl_1_model_{rank}.cif").write_text(to_mmcif(structure))
        np.savez(inner / f"pae_abl_1_model_{rank}.npz", pae=each.pae.astype(np.float32))
        np.savez(inner / f"plddt_abl_1_model_{rank}.npz", plddt=(each.plddt / 100).astype("f4"))
        scores = {
            "confidence_score": 0.8,
            "ptm": 0.61,
            "iptm": 0.52,
            "chains_ptm": {"0": 0.9},
            "pair_chains_iptm": {"0": {"0": 0.9}},
        }
        (inner / f"confidence_abl_1_model_{rank}.json").write_text(json.dumps(scores, indent=4))
    return inner / "abl_1_model_0.cif"


def chai(folder: Path, example: Callable[[int], Example]) -> Path:
    """Write a query of Chai and return the best structure, which is not the first."""
    folder.mkdir(parents=True)
    for number, score in ((0, 0.4), (1, 0.7)):
        each = example(1 - number)
        (folder / f"pred.model_idx_{number}.cif").write_text(to_mmcif(each.structure))
        np.savez(
            folder / f"scores.model_idx_{number}.npz",
            aggregate_score=np.array([score], np.float32),
            ptm=np.array([0.61], np.float32),
            iptm=np.array([0.52], np.float32),
            has_inter_chain_clashes=np.array([False]),
        )
        np.save(folder / f"pae.model_idx_{number}.npy", each.pae.astype(np.float32))
    return folder / "pred.model_idx_1.cif"


def modelcif_record(example: Example, entry_id: str, version: int) -> ModelRecord:
    """Return what a file of AlphaFold DB says."""
    structure = example.structure
    accession = entry_id.split("-")[1]
    chains = tuple(
        ModelChain(
            (name,),
            structure.chain(name).sequence,
            "Tyrosine-protein kinase ABL1",
            Reference(
                accession,
                "ABL1_MOUSE",
                gene="Abl1",
                organism="Mus musculus",
                tax_id=10090,
                end=len(structure.chain(name)),
            )
            if len(accession) < 16
            else None,
        )
        for name in structure.chains
    )
    return ModelRecord(
        entry_id=entry_id,
        title="AlphaFold Monomer v2.0 prediction for Tyrosine-protein kinase ABL1 (P00520)",
        structure=structure,
        chains=chains,
        plddt=example.plddt,
        model_name="AlphaFold Monomer v2.0",
        created="2022-06-01T00:00:00Z",
        version=version,
        prediction=Step({"AlphaFold": "2.0"}, {}),
    )


def _as_alphafold_db(text: str, version: int) -> str:
    """Return a file with the history, software, authors and columns of AlphaFold DB's."""
    document = gemmi.cif.read_string(text)
    block = document.sole_block()
    for name in ("pdbx_audit_revision_history", "software", "ma_software_group", "audit_author"):
        block.find_mmcif_category(f"_{name}.").erase()
    tags = ["data_content_type", "major_revision", "minor_revision", "ordinal", "revision_date"]
    history = block.init_loop("_pdbx_audit_revision_history.", tags)
    for number in range(1, version + 1):
        history.add_row(["'Structure model'", str(number), "0", str(number), f"202{number}-06-01"])
    software = block.init_loop("_software.", ["name", "pdbx_ordinal", "type", "version"])
    software.add_row(["AlphaFold", "1", "package", "v2.0"])
    software.add_row(["dssp", "2", "library", "4"])
    for tag in ("group_id", "ordinal_id", "software_id"):
        block.set_pair(f"_ma_software_group.{tag}", "1")
    authors = block.init_loop("_audit_author.", ["name", "pdbx_ordinal"])
    authors.add_row(["'Jumper, John'", "1"])
    authors.add_row(["'Evans, Richard'", "2"])
    options = gemmi.cif.WriteOptions()
    options.align_loops = 30
    return document.as_string(options)


def afdb_files(
    example: Example, entry_id: str = "AF-P00520-F1", version: int = 4
) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of an entry's files in AlphaFold DB."""
    record = modelcif_record(example, entry_id, version)
    text = _as_alphafold_db(to_modelcif(record), version)
    yield f"{entry_id}-model_v{version}.cif", text.encode()
    yield f"{entry_id}-model_v{version}.bcif", to_binarycif(record)
    yield f"{entry_id}-model_v{version}.pdb", to_pdb(example.structure).encode()
    yield f"{entry_id}-confidence_v{version}.json", confidence_json(example.plddt).encode()
    pae: object = [
        {
            "predicted_aligned_error": np.round(example.pae).astype(int).tolist(),
            "max_predicted_aligned_error": 31,
        }
    ]
    if version == 1:
        ones, twos = (np.nonzero(np.ones(example.pae.shape))[axis] + 1 for axis in (0, 1))
        pairs = {"residue1": ones.tolist(), "residue2": twos.tolist()}
        distance = example.pae.ravel().tolist()
        pae = [{**pairs, "distance": distance, "max_predicted_aligned_error": 31.75}]
    name = f"{entry_id}-predicted_aligned_error_v{version}.json"
    yield name, json.dumps(pae).encode()


def afdb(folder: Path, example: Callable[[int], Example], packed: bool = True) -> Path:
    """Write a folder of an entry's files, packed as in AlphaFold DB's archives."""
    folder.mkdir(parents=True)
    for name, content in afdb_files(example(0)):
        if packed and not name.endswith(".json"):
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder / f"AF-P00520-F1-model_v4.cif{'.gz' * packed}"
