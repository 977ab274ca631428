"""Training samples: which chains, what is cropped, drawn and masked, and with which template.

Everything random follows from (seed, stage, step), so any step's batch can be made again.
"""

from __future__ import annotations

import logging
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int

from foldry.dataset.packs import CLUSTERS, Hit, KnownChain, Library, read_table
from foldry.errors import InputError
from foldry.features.coevolution import alignment_statistics
from foldry.features.crop import contiguous_crop, spatial_crop
from foldry.features.features import FeatureConfig, Features, MSADraw, TemplateFeatures
from foldry.features.msa import block_deletion, draw_msa
from foldry.features.sequence import SequenceFeatures, sequence_features
from foldry.features.templates import MIN_PAIRS, template_features_of_atoms
from foldry.model.config import mini
from foldry.model.inputs import stack_draws, stack_features
from foldry.query import Chain, Query
from foldry.residues import CA, GAP, RESTYPES_WITH_X
from foldry.train.config import StageConfig
from foldry.train.targets import Batch, make_targets
from foldry.weights.bundled import excluded_chains

logger = logging.getLogger(__name__)

NUM_SELECTION: Final = 60
"""Chains held back for the choice between models, one a cluster: at most so many,"""
SELECTION_SHARE: Final = 0.1
"""and from at most this share of the clusters."""
SELECTION_LENGTHS: Final = (40, 256)
CONFIDENCE_SHARE: Final = 0.05
"""Share of the clusters held back from all but the confidence stage."""
IDENTITY_STRATA: Final = (0.3, 0.5)
"""Templates below, between and above are drawn equally often."""
MAX_TEMPLATE_HITS: Final = 20
"""Best hits that several templates are drawn from."""
MAX_DAMAGED: Final = 100
"""Damaged chains drawn for one sample, after which it is given up."""


@dataclass(frozen=True)
class Sample:
    """A crop of one chain.

    Attributes:
        features: Of at most `crop_size` residues.
        draws: One draw of the alignment for each pass.
        truth: The crop's atoms.
        clamped: Whether its backbone FAPE is clamped.
    """

    features: Features
    draws: tuple[MSADraw, ...]
    truth: KnownChain
    clamped: bool


class TrainingSet:
    """Chains to train on, in three parts of different clusters: train, selection, confidence.

    Chains that resemble a validation or test chain (column `near` of the split's table) and those
    of `exclude` are in no part.

    Args:
        folder: The folder of packs, see `foldry.dataset.packs`.
        splits: The splits to train on; None stands for all whose name begins with `train`.
        exclude: Ids never to be trained on; None stands for those that resemble an example.
        features: How alignments and templates are drawn; None stands for mini's way.

    Raises:
        InputError: A pack or table is missing or damaged.
    """

    def __init__(
        self,
        folder: Path,
        splits: Sequence[str] | None = None,
        exclude: Collection[str] | None = None,
        features: FeatureConfig | None = None,
    ) -> None:
        if splits is None:
            splits = sorted(path.stem for path in (folder / "splits").glob("train*.tsv"))
        self.library = Library(folder, splits)
        self.features = features or mini().features
        self.excluded = excluded_chains() if exclude is None else frozenset(exclude)
        rows = [row for split in splits for row in read_table(folder / "splits" / f"{split}.tsv")]
        lengths = {
            row["id"]: int(row["length"])
            for row in rows
            if not row.get("near") and row["id"] not in self.excluded
        }
        table = folder / "splits" / f"{CLUSTERS}.tsv"
        clusters = {
            row["id"]: row["cluster30"] for row in read_table(table) if row["id"] in lengths
        }
        missing = sorted(set(lengths) - set(clusters))
        if missing:
            raise InputError(
                f"has no cluster for {len(missing)} chains, {missing[0]} among them",
                "add them",
                where=table,
            )
        self.parts = partition(lengths, clusters)
        self.held_back = frozenset(self.parts["selection"] + self.parts["confidence"])
        self.weights = {
            part: sampling_weights(names, lengths, clusters) for part, names in self.parts.items()
        }
        self._confident: dict[tuple[str, float], tuple[list[str], np.ndarray]] = {}

    def batch(
        self, stage: StageConfig, seed: int, step: int, numbers: Sequence[int] | None = None
    ) -> Batch:
        """Some samples of one step, by their numbers in it; all if left out.

        A sample follows from (seed, stage, step, number) alone, whoever makes it.
        """
        key = [seed, zlib.crc32(stage.name.encode()), step, 1]
        names = self._choose(stage, np.random.default_rng(key), stage.batch_size)
        intact = [
            self._intact(names[number], stage, np.random.default_rng([*key, number]))
            for number in (range(stage.batch_size) if numbers is None else numbers)
        ]
        batch = collate([sample for sample, _ in intact], stage.crop_size)
        return replace(batch, num_damaged=sum(damaged for _, damaged in intact))

    def chains(self, stage: StageConfig) -> tuple[list[str], Float[np.ndarray, " C"]]:
        """The chains that a stage draws from, and how often each is drawn.

        Raises:
            InputError: There is none, or none has a residue of the stage's pLDDT.
        """
        names, weights = self.parts[stage.chains], self.weights[stage.chains]
        if not names:
            raise InputError(
                f"Stage {stage.name} has no chain to train on", "give chains of more clusters"
            )
        if not stage.min_plddt:
            return names, weights
        key = stage.chains, stage.min_plddt
        if key not in self._confident:
            best = np.array([self.library.best_plddt(name) for name in names])
            kept = best >= stage.min_plddt
            if not kept.any():
                raise InputError(
                    f"Stage {stage.name} has no residue of pLDDT {stage.min_plddt:g} to train on, "
                    f"the best has {best.max():.0f}",
                    "lower `min_plddt`, or give predictions of more confidence",
                )
            names = [name for name, confident in zip(names, kept, strict=True) if confident]
            self._confident[key] = names, weights[kept] / weights[kept].sum()
        return self._confident[key]

    def _choose(self, stage: StageConfig, rng: np.random.Generator, count: int) -> list[str]:
        names, weights = self.chains(stage)
        chosen: list[str] = rng.choice(names, count, p=weights).tolist()
        return chosen

    def _intact(
        self, name: str, stage: StageConfig, rng: np.random.Generator
    ) -> tuple[Sample, int]:
        """A sample of the chain or, where that is damaged, of another; how many were damaged."""
        for damaged in range(MAX_DAMAGED):
            try:
                return self.sample(name, stage, rng), damaged
            except InputError as error:
                logger.warning("%s is left out once: %s", name, error)
                [name] = self._choose(stage, rng, 1)
        raise InputError(f"{MAX_DAMAGED} chains in a row are damaged", "make the data again")

    def sample(self, name: str, stage: StageConfig, rng: np.random.Generator) -> Sample:
        """A crop of one chain, its alignment's draws and its templates, as training shows them.

        Raises:
            InputError: The chain or its alignment is damaged, or no residue is confident.
        """
        msa, deletions, window, truth = self._crop(name, stage, rng)
        templates = self._templates(name, truth, window, stage, rng)
        single = (
            any(each.mask.any() for each in templates) and rng.random() < stage.single_row_fraction
        )
        kept = np.zeros(1, np.int64) if single else _rows(len(msa), stage, rng)
        features = self._features(
            name, truth, (msa[kept], deletions[kept]), templates, stage, int(rng.integers(2**62))
        )
        draws = tuple(draw_msa(features, number) for number in range(stage.max_passes))
        clamped = rng.random() >= stage.losses.unclamped_fraction
        return Sample(features, draws, truth, bool(clamped))

    def whole_sample(self, name: str, stage: StageConfig, seed: int) -> Sample:
        """A crop of one chain as a prediction would see it: nothing is thinned or damaged.

        The draws are of the whole alignment. The templates are the best hits that cover some of
        the crop, where there are any and the stage has templates.

        Raises:
            InputError: As `sample`.
        """
        rng = np.random.default_rng(seed)
        msa, deletions, window, truth = self._crop(name, stage, rng)
        hits = self._usable_hits(name) if stage.template_fraction else []
        laid = (self.library.lay_hit(name, hit).window(window) for hit in hits)
        best = list(islice(filter(_covers, laid), self.features.num_templates))
        templates = best or [damage(truth, 0.0, 1.0, rng)]
        features = self._features(name, truth, (msa, deletions), templates, stage, seed)
        draws = tuple(draw_msa(features, number) for number in range(stage.max_passes))
        return Sample(features, draws, truth, clamped=True)

    def _crop(
        self, name: str, stage: StageConfig, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, Int[np.ndarray, " C"], KnownChain]:
        """The residues of a sample: their rows, deletions, places, and confident atoms."""
        chain = self.library.chain(name)
        msa, deletions = self.library.alignment(name)
        if not (np.isfinite(chain.positions).all() and np.array_equal(msa[0], chain.aatype)):
            raise InputError(
                f"{name} has an atom that is nowhere, or an alignment of another sequence",
                "make its pack again",
            )
        confident = chain.confident(stage.min_plddt)
        if not confident.mask.any():
            raise InputError(f"{name} has no residue of pLDDT {stage.min_plddt:g}", "leave it out")
        while True:
            window = crop(chain, stage, rng)
            truth = confident.window(window)
            if truth.mask.any():
                return msa[:, window], deletions[:, window], window, truth

    def _features(
        self,
        name: str,
        truth: KnownChain,
        alignment: tuple[np.ndarray, np.ndarray],
        templates: Sequence[KnownChain],
        stage: StageConfig,
        seed: int,
    ) -> Features:
        sequence = "".join(RESTYPES_WITH_X[code] for code in truth.aatype)
        known = sequence_features(Query(name, (Chain(("A",), sequence),)))
        rows, deletions = alignment
        return Features(
            **vars(replace(known, residue_index=truth.residue_index)),
            msa=rows,
            deletion_matrix=deletions,
            templates=template_features(templates, self.features.num_templates),
            config=replace(
                self.features, num_msa=stage.num_rows, num_extra_msa=stage.num_extra_rows
            ),
            seed=seed,
            **alignment_statistics(rows, self.features),
        )

    def _templates(
        self,
        name: str,
        truth: KnownChain,
        window: Int[np.ndarray, " C"],
        stage: StageConfig,
        rng: np.random.Generator,
    ) -> list[KnownChain]:
        """Templates of the window: the window itself with noise, some of the hits, or nothing."""
        nothing = [damage(truth, 0.0, 1.0, rng)]
        if not self.features.num_templates:
            return nothing
        kind = rng.random()
        if kind < stage.self_template_fraction:
            return [damage(truth, rng.uniform(0.1, 1.0), rng.uniform(0.0, 0.3), rng)]
        hits = self._draw_hits(name, rng)
        if not hits or kind >= stage.self_template_fraction + stage.template_fraction:
            return nothing
        laid = [self.library.lay_hit(name, hit).window(window) for hit in hits]
        laid = [
            damage(each, 0.3, rng.uniform(0.1, 0.4), rng) if rng.random() < 0.5 else each
            for each in laid
        ]
        return list(filter(_covers, laid)) or nothing

    def _usable_hits(self, name: str) -> list[Hit]:
        """A chain's template hits that are not excluded, the best first.

        Held-back chains are templates of held-back chains alone: the trunk never sees them.
        """
        unseen = self.excluded if name in self.held_back else self.excluded | self.held_back
        return [hit for hit in self.library.hits(name) if hit.target not in unseen]

    def _draw_hits(self, name: str, rng: np.random.Generator) -> list[Hit]:
        """Template hits to lay, at most as many as the network reads.

        For one slot a hit from one of the identity strata that the chain has hits in; for several
        min(Uniform[0, n], slots) of the n best (Jumper 2021, SI 1.2.2).
        """
        usable, slots = self._usable_hits(name), self.features.num_templates
        if slots > 1:
            best = usable[:MAX_TEMPLATE_HITS]
            number = min(int(rng.integers(len(best) + 1)), slots)
            return [best[place] for place in rng.permutation(len(best))[:number]]
        strata: dict[int, list[Hit]] = {}
        for hit in usable:
            stratum = int(np.searchsorted(IDENTITY_STRATA, hit.identity, side="right"))
            strata.setdefault(stratum, []).append(hit)
        if not strata:
            return []
        drawn = strata[int(rng.choice(sorted(strata)))]
        return [drawn[int(rng.integers(len(drawn)))]]


def partition(lengths: Mapping[str, int], clusters: Mapping[str, str]) -> dict[str, list[str]]:
    """Ids by part; whole clusters are held back, always the same ones.

    Args:
        lengths: Residues of each chain.
        clusters: The cluster of each chain.
    """
    members: dict[str, list[str]] = {}
    for name in sorted(lengths):
        members.setdefault(clusters[name], []).append(name)
    rng = np.random.default_rng(0)
    parts: dict[str, list[str]] = {"train": [], "selection": [], "confidence": []}
    shortest, longest = SELECTION_LENGTHS
    order = rng.permutation(sorted(members)).tolist()
    num_selection = min(NUM_SELECTION, int(SELECTION_SHARE * len(order)))
    num_confidence = max(1, round(CONFIDENCE_SHARE * len(order)))
    for cluster in order:
        fitting = [name for name in members[cluster] if shortest <= lengths[name] <= longest]
        if fitting and len(parts["selection"]) < num_selection:
            parts["selection"].append(fitting[int(rng.integers(len(fitting)))])
        elif num_confidence:
            parts["confidence"] += members[cluster]
            num_confidence -= 1
        else:
            parts["train"] += members[cluster]
    return parts


def crop(chain: KnownChain, stage: StageConfig, rng: np.random.Generator) -> Int[np.ndarray, " C"]:
    """The residues of a sample: a run of them, or those around one of them."""
    if len(chain) > stage.crop_size and rng.random() < stage.spatial_fraction:
        known, one_chain = chain.mask[:, CA] > 0, np.zeros(len(chain), np.int64)
        return spatial_crop(chain.positions[:, CA], known, one_chain, stage.crop_size, rng)
    return contiguous_crop([len(chain)], stage.crop_size, rng)


def sampling_weights(
    names: Sequence[str], lengths: Mapping[str, int], clusters: Mapping[str, str]
) -> Float[np.ndarray, " C"]:
    """Probabilities by 1/√(cluster size) and by length, clipped to 256 … 512 residues.

    The length's part is that of AlphaFold's training (Jumper 2021, SI 1.2.5).
    """
    sizes = Counter(clusters[name] for name in names)
    weights = np.array(
        [min(max(lengths[name], 256), 512) / sizes[clusters[name]] ** 0.5 for name in names]
    )
    probabilities: Float[np.ndarray, " C"] = weights / weights.sum()
    return probabilities


def damage(chain: KnownChain, noise: float, share: float, rng: np.random.Generator) -> KnownChain:
    """Gaussian noise (Å) on every atom, and up to a share of the residues taken out in 1–4 pieces.

    Residues taken out have code 21 and no atoms.
    """
    size = len(chain)
    kept = np.ones(size, bool)
    pieces = int(rng.integers(1, 5)) if share < 1 else 1
    length = int(np.ceil(share * size / pieces))
    for start in rng.integers(0, size - length + 1, pieces):
        kept[start : start + length] = False
    mask = chain.mask * kept[:, None]
    moved = chain.positions + rng.normal(0, noise, chain.positions.shape)
    return replace(
        chain,
        aatype=np.where(kept, chain.aatype, GAP),
        positions=(moved * mask[..., None]).astype(np.float32),
        mask=mask,
    )


def _covers(template: KnownChain) -> bool:
    """Whether enough of a template's residues are known for it to be one."""
    return bool(template.mask[:, CA].sum() >= MIN_PAIRS)


def template_features(
    templates: Sequence[KnownChain], num_templates: int
) -> TemplateFeatures | None:
    """`num_templates` templates, those after the given ones empty; None for no templates at all.

    A template without any atom counts as none.
    """
    if not num_templates:
        return None
    size = len(templates[0])
    aatype = np.full((num_templates, size), GAP)
    positions = np.zeros((num_templates, size, 37, 3), np.float32)
    mask = np.zeros((num_templates, size, 37), np.float32)
    for row, chain in enumerate(templates):
        aatype[row], positions[row], mask[row] = chain.aatype, chain.positions, chain.mask
    features = template_features_of_atoms(aatype, positions, mask)
    present = np.asarray(mask.any(axis=(1, 2)), np.float32)
    return replace(features, mask=present)


def collate(samples: Sequence[Sample], crop_size: int) -> Batch:
    """Samples as one batch of fixed shapes; what is missing is 0 and masked."""
    truths = [sample.truth for sample in samples]
    inputs = stack_features([_pad_features(sample.features, crop_size) for sample in samples])
    passes = list(zip(*(sample.draws for sample in samples), strict=True))
    config = samples[0].features.config
    padded = [[_pad_draw(draw, config, crop_size) for draw in draws] for draws in passes]
    targets = make_targets(
        np.stack([_pad(chain.aatype, crop_size) for chain in truths]),
        np.stack([_pad(chain.positions, crop_size) for chain in truths]),
        np.stack([_pad(chain.mask, crop_size) for chain in truths]),
        np.array([chain.resolution for chain in truths]),
    )
    # A residue without atoms is not confident: it does not tell what an experiment resolves.
    counted = targets.atom37_mask.amax(-1, keepdim=True)
    return Batch(
        inputs=inputs,
        draws=tuple(stack_draws(draws) for draws in padded),
        true_msa=tuple(
            torch.from_numpy(np.stack([draw.true_msa for draw in draws])) for draws in padded
        ),
        bert_mask=tuple(
            torch.from_numpy(np.stack([draw.bert_mask for draw in draws])) for draws in padded
        ),
        targets=replace(targets, atom37_exists=targets.atom37_exists * counted),
        clamped=torch.tensor([float(sample.clamped) for sample in samples]),
    )


def _rows(count: int, stage: StageConfig, rng: np.random.Generator) -> Int[np.ndarray, " M"]:
    """Rows of an alignment, the first always: all but blocks, or half the time all, else some."""
    if stage.deleted_blocks:
        return block_deletion(count, rng, num_blocks=stage.deleted_blocks)
    if count == 1 or rng.random() < 0.5:
        return np.arange(count)
    kept = int(np.exp(rng.uniform(0, np.log(count))))
    return np.sort(np.append(rng.choice(count - 1, kept - 1, replace=False) + 1, 0))


def _pad(array: np.ndarray, *sizes: int) -> np.ndarray:
    """Zeros after the end of the leading axes, up to these sizes."""
    padded = np.zeros((*sizes, *array.shape[len(sizes) :]), array.dtype)
    padded[tuple(slice(size) for size in array.shape[: len(sizes)])] = array
    return padded


def _pad_features(features: Features, size: int) -> Features:
    templates = features.templates
    if templates is not None:
        by_residue = {name: array for name, array in vars(templates).items() if name != "mask"}
        count = len(templates.mask)
        templates = replace(
            templates, **{name: _pad(array, count, size) for name, array in by_residue.items()}
        )
    names = [field.name for field in fields(SequenceFeatures)]
    padded: dict[str, Any] = {name: _pad(getattr(features, name), size) for name in names}
    if features.profile is not None:
        padded["profile"] = _pad(features.profile, size)
    if features.coevolution is not None:
        padded["coevolution"] = _pad(features.coevolution, size, size)
    return replace(features, **padded, templates=templates)


def _pad_draw(draw: MSADraw, config: FeatureConfig, size: int) -> MSADraw:
    rows = {True: config.num_extra_msa, False: config.num_msa}
    return MSADraw(
        **{
            name: _pad(array, rows[name.startswith("extra")], size)
            for name, array in vars(draw).items()
        }
    )
