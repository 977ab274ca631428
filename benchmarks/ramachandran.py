"""Make the regions of the Ramachandran plot, and compare them with MolProbity's.

    python benchmarks/ramachandran.py --data ../shared/data [--molprobity FOLDER] [--write]

The regions are derived from the train chains with a resolution of 2.0 Å or better: for each class
of residues, the density of (phi, psi) in squares of 10°, smoothed by a Gaussian of 6°. The densest
squares with 97 % of the residues are favoured, those with 99.8 % allowed; MolProbity gives the
same shares for these unfiltered chains. The regions are tested on the val chains, which are not
used to derive them. FOLDER holds MolProbity's grids (`rama8000-*.data` of rlabduke/reference_data,
CC BY 4.0). `--write` replaces src/foldry/score/ramachandran.txt.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from foldry.score import ramachandran
from foldry.score.torsions import structure_torsions
from foldry.structure import Structure
from script import run_script

TABLE = Path(ramachandran.__file__).with_name("ramachandran.txt")
FAVOURED, ALLOWED = 0.97, 0.998
SMOOTHING = 6.0
MOLPROBITY = {
    "general": ("general-noGPIVpreP", 0.0005),
    "ile-val": ("ileval-nopreP", 0.001),
    "glycine": ("gly-sym", 0.001),
    "pre-proline": ("prepro-noGP", 0.001),
    "trans-proline": ("transpro", 0.001),
    "cis-proline": ("cispro", 0.002),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--molprobity", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    train = np.concatenate(list(_angles(options.data, "[!v]*", 2.0)))
    val = np.concatenate(list(_angles(options.data, "val", np.inf)))
    made = np.stack([_regions(train, kind) for kind in range(len(ramachandran.CLASSES))])
    if options.write:
        TABLE.write_text(_as_text(made, len(train)), "utf-8")
    same = (made == ramachandran._REGIONS).all()
    print(
        f"made of {len(train)} residues; the file holds {'the same' if same else 'other'} regions"
    )
    kind, phi, psi = val.T[0].astype(int), val.T[1], val.T[2]
    ours = made[kind, ramachandran.cell(phi), ramachandran.cell(psi)]
    print(f"{len(val)} residues of val: {_shares(ours)}")
    if options.molprobity:
        theirs = np.array([_molprobity(options.molprobity, *row) for row in val])
        print(f"by MolProbity's grids: {_shares(theirs)}")
        print(f"same verdict {np.mean(ours == theirs):.4f}")
        for name, number in (("favoured", 2), ("outlier", 0)):
            print(f"same answer for {name} {np.mean((ours == number) == (theirs == number)):.4f}")


def _angles(data: Path, which: str, resolution: float) -> Iterator[np.ndarray]:
    """Return class, phi and psi of each residue with both angles."""
    reader = data / "structures" / "read_structures.py"
    spec = importlib.util.spec_from_file_location("read_structures", reader)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path in sorted((data / "structures").glob(f"structures-{which}.npz")):
        shard = module.load_shard(path)
        for chain in (shard[index] for index in range(len(shard))):
            if not (chain["resolution"] <= resolution or np.isinf(resolution)):
                continue
            torsions = structure_torsions(chain_structure(chain))
            kind = ramachandran.residue_class(torsions, chain["aatype"])
            found = np.stack([kind, torsions.phi, torsions.psi], axis=1)
            yield found[np.isfinite(found).all(axis=1) & (chain["aatype"] < 20)]


def chain_structure(chain: dict[str, np.ndarray]) -> Structure:
    """Return a chain of a pack as a structure."""
    num = len(chain["aatype"])
    return Structure(
        name=str(chain["id"]),
        aatype=chain["aatype"].astype(np.int64),
        residue_number=chain["residue_index"].astype(np.int64),
        insertion_code=np.full(num, ""),
        chain_id=np.full(num, "A"),
        atom_positions=chain["atom_positions"],
        atom_mask=chain["atom_mask"],
        b_factor=np.zeros((num, 37)),
    )


def _regions(angles: np.ndarray, kind: int) -> np.ndarray:
    phi, psi = angles[angles[:, 0] == kind, 1:].T
    counts, _, _ = np.histogram2d(phi, psi, bins=360, range=[[-180, 180]] * 2)
    if ramachandran.CLASSES[kind] == "glycine":  # which is not chiral
        counts = counts + counts[::-1, ::-1]
    waves = 2 * np.pi * np.fft.fftfreq(360)
    kernel = np.exp(-0.5 * (SMOOTHING * waves) ** 2)
    smooth = np.fft.ifft2(np.fft.fft2(counts) * kernel[:, None] * kernel).real
    num = 360 // ramachandran.STEP
    density = smooth.reshape(num, ramachandran.STEP, num, ramachandran.STEP).mean(axis=(1, 3))
    of_each = density[ramachandran.cell(phi), ramachandran.cell(psi)]
    limits = (np.quantile(of_each, 1 - share) for share in (ALLOWED, FAVOURED))
    return sum((density >= limit).astype(np.int8) for limit in limits)


def _as_text(regions: np.ndarray, num: int) -> str:
    lines = [
        f"Made by benchmarks/ramachandran.py of {num} residues of PDB entries (CC0).",
        "Lines are psi from 180 down to -180, columns phi from -180 to 180 degrees.",
    ]
    for name, plot in zip(ramachandran.CLASSES, regions, strict=True):
        lines += ["", name]
        lines += ["".join(ramachandran.SYMBOLS[int(x)] for x in row) for row in plot.T[::-1]]
    return "\n".join(lines) + "\n"


def _molprobity(folder: Path, kind: float, phi: float, psi: float) -> int:
    name, allowed = MOLPROBITY[ramachandran.CLASSES[int(kind)]]
    if name not in _grids:
        grid = np.zeros((180, 180))
        table = np.loadtxt(folder / f"rama8000-{name}.data")
        grid[tuple(((table[:, :2] + 180) // 2).astype(int).T)] = table[:, 2]
        _grids[name] = grid
    value = _grids[name][int((phi + 180) // 2) % 180, int((psi + 180) // 2) % 180]
    return int(value >= allowed) + int(value >= 0.02)


_grids: dict[str, np.ndarray] = {}


def _shares(regions: np.ndarray) -> str:
    names = ("outlier", "allowed", "favoured")
    return ", ".join(f"{name} {np.mean(regions == k):.4f}" for k, name in enumerate(names))


if __name__ == "__main__":
    run_script(main)
