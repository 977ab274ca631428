"""Predictions in any number for databases: real chains, cut, mutated, bent and shaken.

Each has coordinates, confidence, errors, sequence and names of its own; number and seed determine
all of it. Errors grow with the distance and have the noise of those of `mini`, so that a record
takes as many bytes as a real one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from foldry.database.entry import Deposit, Facts, StoredModel
from foldry.dataset.packs import Library
from foldry.errors import InputError
from foldry.formats.coordinates import read_structure
from foldry.formats.model_record import ModelChain, ModelRecord, Step
from foldry.residues import ATOM37_MASK, CA, RESTYPES, RESTYPES_WITH_X
from foldry.store.hashes import sha256
from foldry.structure import Structure
from score import chains_of

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples"
MAX_PAE: Final = 31.75
_WIDE: Final = 2048
_MASK: Final = ATOM37_MASK.astype(bool)
_SYLLABLES: Final = (
    "ka",
    "ro",
    "ti",
    "me",
    "su",
    "la",
    "no",
    "vi",
    "per",
    "do",
    "xi",
    "gen",
    "pho",
    "al",
)
_KINDS: Final = ("kinase", "ligase", "oxidase", "protease", "transporter", "receptor", "synthase")
CONFIG: Final = {
    "weights": "mini.safetensors",
    "config": {"name": "mini", "evoformer": {"num_blocks": 6, "c_msa": 64, "dropout_msa": 0.05}},
    "settings": {"num_recycles": 3, "pairing": "alphafold", "dtype": "float32"},
    "kernels": {"attention": "cpu", "transition": "cpu", "triangle_multiplication": "cpu"},
    "process": {"malloc": "keeps blocks", "threads": 1, "matmul": "onednn"},
}
"""About as many provenance bytes as a real prediction has."""


def known_chains(data: Path | None, most: int = 2000) -> list[Structure]:
    """Return real chains: those of the packs in a folder, or those of the examples."""
    if data is None:
        paths = sorted(EXAMPLES.glob("*/*.cif*")) + sorted(EXAMPLES.glob("*/*/*.cif*"))
        structures = [read_structure(path) for path in paths]
        return [each.chain(each.chains[0]) for each in structures]
    library = Library(data, [])
    names = sorted(library.structures.place)
    return chains_of(library, names[:: max(1, len(names) // most)])


class Maker:
    """Makes predictions by number.

    Args:
        chains: Real chains to begin with.
        mean: Mean number of residues.
        seed: Random seed.
    """

    def __init__(self, chains: list[Structure], mean: int = 150, seed: int = 0) -> None:
        self.chains = [each for each in chains if len(each) >= 60 and each.atom_mask[:, CA].all()]
        if not self.chains:
            raise InputError("There are no chains of 60 residues", "give other structures")
        self.mean, self.seed = mean, seed
        random = np.random.default_rng(seed)
        self._noise = random.normal(0, 1, (_WIDE, _WIDE)).astype(np.float32)
        self._words = ["".join(random.choice(_SYLLABLES, 3)) for _ in range(5000)]
        self._organisms = [
            f"{random.choice(self._words).capitalize()} {random.choice(self._words)}"
            for _ in range(2000)
        ]

    def deposit(self, number: int, length: int | None = None) -> Deposit:
        """Return a prediction, perhaps of a given number of residues."""
        random = np.random.default_rng([self.seed, number])
        model = self._model(random, number, length)
        organism = min(int(random.pareto(0.6)), len(self._organisms) - 1)
        word = self._words[min(int(random.pareto(0.4)), len(self._words) - 1)]
        kind = _KINDS[random.integers(len(_KINDS))]
        rare = self._words[random.integers(len(self._words))]
        return Deposit(
            model=model,
            tool="Foldry",
            name=f"protein_{number}",
            content_key=sha256(f"{self.seed} {number}".encode()),
            accession=accession(number) if number % 2 else None,
            facts=Facts(
                description=f"{word.capitalize()} {kind} {rare}",
                gene=f"{word[:3]}{chr(65 + number % 26)}{number % 97}",
                organism=self._organisms[organism],
                tax_id=1000 + organism,
                is_reviewed=number % 5 == 0,
                keywords=(f"{kind.capitalize()}s", "3D-structure"),
            ),
        )

    def whole(self, number: int) -> Deposit:
        """Return a prediction with the atoms and the sequence of the first chain."""
        made = self.deposit(number, len(self.chains[0]))
        chain = self.chains[0]
        record = replace(
            made.model.record,
            structure=replace(chain, name=f"protein_{number}"),
            chains=(ModelChain(("A",), chain.sequence),),
        )
        return replace(made, model=replace(made.model, record=record))

    def _model(self, random: np.random.Generator, number: int, length: int | None) -> StoredModel:
        base = self.chains[random.integers(len(self.chains))]
        if length is None:
            length = int(np.clip(random.normal(self.mean, self.mean / 4), 40, 2 * self.mean))
        start = random.integers(max(1, len(base) - length + 1))
        rows = np.arange(start, start + length) % len(base)  # around the end if it is too short
        aatype = self._mutated(random, base.aatype[rows])
        positions, mask = _bent(random, base, rows, aatype)
        plddt = np.interp(np.arange(length), np.linspace(0, length, 9), random.uniform(50, 97, 9))
        plddt = np.round((plddt + random.normal(0, 1.5, length)).clip(20, 99), 2)
        sequence = "".join(RESTYPES_WITH_X[code] for code in aatype)
        record = ModelRecord(
            entry_id=f"protein_{number}",
            title=f"protein_{number}",
            structure=Structure(
                name=f"protein_{number}",
                aatype=aatype,
                residue_number=np.arange(1, length + 1),
                insertion_code=np.full(length, ""),
                chain_id=np.full(length, "A"),
                atom_positions=positions,
                atom_mask=mask,
                b_factor=np.where(mask, plddt[:, None], 0.0),
            ),
            chains=(ModelChain(("A",), sequence, f"Protein {number}"),),
            plddt=plddt,
            scores={"ptm": float(random.uniform(0.3, 0.95))},
            model_name="mini",
            created=f"2026-{1 + number % 12:02}-{1 + number % 28:02}T12:00:00Z",
            prediction=Step({"foldry": "0.1.0"}, {"seed": number, **CONFIG}),
        )
        return StoredModel(record=record, pae=self._pae(random, positions[:, CA]), max_pae=MAX_PAE)

    def _mutated(self, random: np.random.Generator, aatype: np.ndarray) -> np.ndarray:
        changed = random.random(len(aatype)) < random.uniform(0.1, 0.7)
        return np.where(changed, random.integers(len(RESTYPES), size=len(aatype)), aatype)

    def _pae(self, random: np.random.Generator, ca: np.ndarray) -> np.ndarray:
        square = (ca * ca).sum(axis=1)
        distance = np.sqrt((square[:, None] + square - 2 * ca @ ca.T).clip(0)).astype(np.float32)
        top, left = random.integers(_WIDE - len(ca), size=2)
        noise = self._noise[top : top + len(ca), left : left + len(ca)]
        expected = 1 + 28 * distance / (distance + np.float32(random.uniform(10, 40)))
        pae = (expected + np.float32(0.85) * noise).clip(0.25, MAX_PAE)
        np.fill_diagonal(pae, 0.25)
        return np.asarray(pae, float)


def accession(number: int) -> str:
    """Return a text of the form of a UniProt accession, another one for each number."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    digits = [number // 26**power % 26 for power in range(6)]
    a, b, c, d, e, f = (letters[digit] for digit in digits)
    return f"A{number % 10}{f}{a}{b}{number // 10 % 10}{c}{d}{e}{number // 100 % 10}"


def _bent(
    random: np.random.Generator, base: Structure, rows: np.ndarray, aatype: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates bent by smooth waves and turned, with the atoms of other residue types."""
    positions = base.atom_positions[rows]
    positions = positions - positions[:, CA].mean(axis=0)
    waves, phase = random.normal(0, 0.12, (3, 3)), random.uniform(0, 6, 3)
    positions += np.sin(positions @ waves + phase) @ random.normal(0, 0.7, (3, 3))
    mask = _MASK[aatype]
    missing = mask & ~base.atom_mask[rows]
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    positions = positions @ turn + random.normal(0, 20, 3)
    where = np.nonzero(missing)[0]
    positions[missing] = positions[where, CA] + random.normal(0, 1.4, (len(where), 3))
    return np.where(mask[..., None], positions, 0.0), mask
