"""A larger model's predictions become training data, in which only confident residues count."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foldry.cli.main import main
from foldry.dataset.packs import Library, read_table, structure_arrays, write_pack
from foldry.formats.coordinates import read_structure
from foldry.model.alphafold import AlphaFold
from foldry.residues import CA
from foldry.weights.state_file import save
from tests.dataset.test_prepare import letters
from tests.train.tiny import read_log, tiny_config

NAMES = ("one", "two", "three", "four")


def shifted(packs: Path, out: Path, least: float, most: float) -> Path:
    """Write the packs with residues of pLDDT `least` to `most` moved by 9 Å along x."""
    shutil.copytree(packs, out)
    library = Library(packs, ["train"])
    for path in (out / "structures").iterdir():
        chains = {}
        for name in np.load(path)["ids"].tolist():
            chain = library.chain(name)
            moved = (chain.plddt >= least) & (chain.plddt < most)
            positions = chain.positions + 9 * moved[:, None, None] * np.array([1, 0, 0], np.float32)
            chains[name] = replace(chain, positions=positions)
        write_pack(path, structure_arrays(chains))
    return out


def test_only_confident_residues_of_predictions_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries, folded, packs = tmp_path / "queries", tmp_path / "folded", tmp_path / "packs"
    queries.mkdir()
    for seed, name in enumerate(NAMES):
        rows = f">{name}\n{letters(seed)}\n>a\n{letters(seed)[:20]}{letters(seed + 9)[20:]}\n"
        (queries / f"{name}.a3m").write_text(rows)
    torch.manual_seed(0)
    teacher = AlphaFold(tiny_config())
    for zero in (teacher.heads.plddt.output, teacher.structure.backbone_update):
        torch.nn.init.normal_(zero.weight)
    weights = tmp_path / "teacher.safetensors"
    save(weights, teacher.state_dict(), tiny_config(), {})
    fold = ["fold", str(queries), "-o", str(folded), "--weights", str(weights), "--seeds", "0-1"]
    assert main([*fold, "--num-recycles", "0", "--device", "cpu"]) == 0

    clusters = tmp_path / "clusters.tsv"
    clusters.write_text("".join(f"{name}\t{name}_A\n" for name in NAMES))
    prepare = ["train", "prepare", str(folded), str(queries), "-o", str(packs), "--workers", "1"]
    assert main([*prepare, "--clusters", str(clusters), "--min-steps", "0"]) == 0
    assert (
        "4 chains kept, 0 of them without an alignment, 1 for validation; 0 dropped"
        in capsys.readouterr().out
    )
    report = {row["id"]: row for row in read_table(packs / "report.tsv")}
    plddt = []
    for name in NAMES:
        best = read_structure(folded / name / "ranked_0.cif")
        row = report[f"{name}_A"]
        chain = Library(packs, [row["split"]]).chain(f"{name}_A")
        np.testing.assert_allclose(chain.positions[:, CA], best.atom_positions[:, CA], atol=0.002)
        assert np.array_equal(chain.plddt, best.b_factor[:, CA].astype(int))
        # The untrained teacher breaks bonds, but no residue is missing.
        assert np.array_equal(np.diff(chain.residue_index), np.ones(len(best) - 1))
        assert (row["rows"], row["file"]) == ("2", f"{name}/ranked_0.cif")
        plddt.append(chain.plddt)
    threshold = float(np.median(np.concatenate(plddt)))

    def train(data: Path, min_plddt: float) -> int:
        command = ["train", "--data", str(data), "-o", str(data / "run"), "--start", str(weights)]
        command += ["--stage", "main", "--steps", "2", "--set", "crop_size=24"]
        return main([*command, "--set", f"min_plddt={min_plddt}"])

    unsure = shifted(packs, tmp_path / "unsure", 0, threshold)
    sure = shifted(packs, tmp_path / "sure", threshold, 101)
    assert [train(data, threshold) for data in (packs, unsure, sure)] == [0, 0, 0]
    before = read_log(packs / "run")
    assert read_log(unsure / "run") == before
    assert read_log(sure / "run") != before
    capsys.readouterr()
    shutil.rmtree(unsure / "run")
    assert train(unsure, 100) == 2
    said = capsys.readouterr().err
    assert "Stage main has no residue with a pLDDT of 100 or more" in said and said.count("\n") == 1
    assert not (unsure / "run").exists()
