"""Pairs to score: real structures, and models made from them by adding errors."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from foldry.score.best_fit import FitSearch
from foldry.score.compare import CaScores, compare_ca
from foldry.score.lddt import ALL_BUT_OXT, LDDT, kept_distances, summary
from foldry.score.tm import search_radius
from foldry.structure import Structure

Search = tuple[FitSearch, int]
GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@dataclass(frozen=True)
class Pair:
    """Cα of a reference and of a model, Å to three decimals; `known` says what the model has."""

    name: str
    model: np.ndarray
    reference: np.ndarray
    known: np.ndarray

    @property
    def common(self) -> tuple[np.ndarray, np.ndarray]:
        return self.model[self.known], self.reference[self.known]


def lddt_atom37(
    model: np.ndarray,
    reference: np.ndarray,
    model_mask: np.ndarray,
    reference_mask: np.ndarray,
    slots: Sequence[int] = ALL_BUT_OXT,
    chain: np.ndarray | None = None,
) -> LDDT:
    """lDDT of some atoms of each residue; with chains, of the distances between these."""
    residue, slot = np.nonzero(reference_mask & np.isin(np.arange(37), slots))
    atoms = model[residue, slot], reference[residue, slot], model_mask[residue, slot]
    group = residue if chain is None else np.unique(chain, return_inverse=True)[1][residue]
    counts = kept_distances(*atoms, group, np.ones((len(residue), 1), bool))
    return summary(counts[..., 0], residue, len(reference))


def search(model: np.ndarray, reference: np.ndarray, length: int | None = None) -> Search:
    """Arguments of `tm_score` and `gdt`; the reference may have more residues."""
    length = length or len(reference)
    return FitSearch(model, reference, search_radius(length)), length


def rotation_about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def helix(num_residues: int) -> np.ndarray:
    """Cα of an ideal α-helix, Å."""
    turn = np.deg2rad(100) * np.arange(num_residues)
    return np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(num_residues)], 1)


def moved(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """The points after a random motion."""
    turn = rotation_about(rng.normal(size=3), rng.uniform(0, np.pi))
    return points @ turn.T + rng.normal(size=3) * 30


def _drift(rng: np.random.Generator, num: int, scale: float, width: int) -> np.ndarray:
    kernel = np.exp(-0.5 * (np.arange(-3 * width, 3 * width + 1) / width) ** 2)
    noise = rng.normal(size=(num + 6 * width, 3))
    smooth = [np.convolve(column, kernel, "valid") for column in noise.T]
    return scale * np.stack(smooth, axis=1) / np.linalg.norm(kernel)


def _noisy(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    return points + rng.normal(size=points.shape) * rng.uniform(0.2, 4)


def _bent_smoothly(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    return points + _drift(rng, len(points), rng.uniform(1, 6), int(rng.integers(2, 12)))


def _hinged(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    for _ in range(rng.integers(1, 4)):
        at = rng.integers(len(points) // 5, 4 * len(points) // 5)
        turn = rotation_about(rng.normal(size=3), rng.uniform(0.2, 2))
        tail = (points[at:] - points[at]) @ turn.T + points[at]
        points = np.concatenate([points[:at], tail])
    return points + rng.normal(size=points.shape) * 0.5


def _mostly_wrong(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    return points + _drift(rng, len(points), rng.uniform(6, 14), int(rng.integers(3, 8)))


def _threaded_wrongly(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    shift = int(rng.integers(3, len(points) // 2))
    return np.roll(points, shift, axis=0) + _drift(rng, len(points), 2, 4)


KINDS: tuple[Callable[[np.random.Generator, np.ndarray], np.ndarray], ...] = (
    _noisy,
    _bent_smoothly,
    _hinged,
    _mostly_wrong,
    _threaded_wrongly,
)


def _truncated(rng: np.random.Generator, num: int) -> np.ndarray:
    known = rng.random(num) > 0.05
    known[: rng.integers(0, num // 4)] = False
    known[num - rng.integers(0, num // 4) :] = False
    return known


@pytest.fixture(scope="session")
def structures(data_dir: Path) -> list[Structure]:
    """The experimental chains of the val split."""
    shard = data_dir / "structures" / "structures-val.npz"
    reader = data_dir / "structures" / "read_structures.py"
    if not (shard.is_file() and reader.is_file()):
        pytest.skip(f"{shard} or its reader is not in the folder of real data")
    spec = importlib.util.spec_from_file_location("read_structures", reader)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loaded = module.load_shard(shard)
    return [_structure(loaded[name]) for name in sorted(loaded.ids)]


def _structure(chain: dict[str, np.ndarray]) -> Structure:
    num = len(chain["aatype"])
    return Structure(
        name=str(chain["id"]),
        aatype=chain["aatype"].astype(np.int64),
        residue_number=chain["residue_index"].astype(np.int64),
        insertion_code=np.full(num, "", dtype="<U1"),
        chain_id=np.full(num, "A"),
        atom_positions=chain["atom_positions"],
        atom_mask=chain["atom_mask"],
        b_factor=np.zeros((num, 37), np.float32),
    )


@dataclass(frozen=True)
class Prediction:
    """A prediction of `mini`, often wrong: N, CA, C and O of every residue, Å."""

    reference: Structure
    backbone: np.ndarray


@pytest.fixture(scope="session")
def predictions(structures: list[Structure]) -> list[Prediction]:
    """The recorded predictions of the bundled small model (tests/golden/README.md)."""
    references = {structure.name: structure for structure in structures}
    with np.load(GOLDEN / "mini_predictions.npz") as recorded:
        names, ends = recorded["names"].tolist(), recorded["lengths"].cumsum()
        models = np.split(recorded["coordinates"] / 100.0, ends[:-1])
    return [Prediction(references[name], each) for name, each in zip(names, models, strict=True)]


@pytest.fixture(scope="session")
def pairs(structures: list[Structure], predictions: list[Prediction]) -> list[Pair]:
    """At least 150 real pairs, good and bad models, every third of them truncated."""
    rng = np.random.default_rng(20)
    made = []
    for index, structure in enumerate(structures):
        reference = structure.atom_positions[structure.atom_mask[:, 1], 1].astype(np.float64)
        num = len(reference)
        if num < 20:
            continue
        make = KINDS[index % len(KINDS)]
        model = moved(rng, make(rng, reference)).round(3)
        known = _truncated(rng, num) if index % 3 == 0 else np.ones(num, bool)
        name = f"{structure.name} {make.__name__.strip('_')}"
        made.append(Pair(name, model, reference.round(3), known))
    for prediction in predictions:
        there = prediction.reference.atom_mask[:, 1]
        reference = prediction.reference.atom_positions[there, 1].astype(np.float64)
        model, known = prediction.backbone[there, 1], np.ones(len(reference), bool)
        name = f"{prediction.reference.name} mini"
        made.append(Pair(name, model.round(3), reference.round(3), known))
    assert len(made) >= 150
    return made


@pytest.fixture(scope="session")
def scored(pairs: list[Pair]) -> list[tuple[Pair, CaScores]]:
    """All pairs with their scores."""
    return [(pair, compare_ca(pair.model, pair.reference, pair.known)) for pair in pairs]
