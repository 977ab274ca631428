"""Training samples: chains, their crops, alignment draws, masks and templates.

Every random choice follows from the seed, the stage, the step and the number of the sample in the
step. Any sample can be made again, in any process, so runs can be resumed.
"""

from __future__ import annotations

import logging
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Integer

from foldry.dataset.packs import (
    CLUSTERS,
    KnownChain,
    Library,
    check_clusters,
    read_lengths,
    read_table,
)
from foldry.errors import InputError
from foldry.features.coevolution import alignment_statistics
from foldry.features.config import FeatureConfig
from foldry.features.crop import contiguous_crop, spatial_crop
from foldry.features.features import Features, MSADraw, TemplateFeatures
from foldry.features.msa import block_deletion, draw_msa
from foldry.features.sequence import sequence_features
from foldry.features.templates import MIN_PAIRS, template_features_of_atoms
from foldry.model.config import mini
from foldry.query import Chain, Hit, Query
from foldry.residues import CA, GAP
from foldry.store.hashes import content_key
from foldry.weights.bundled import excluded_chains

logger = logging.getLogger(__name__)

PARTS: Final = ("train", "selection", "confidence")
VALIDATION: Final = "val"
"""The split that is never trained on."""
NUM_SELECTION: Final = 60
"""Maximum number of chains held back to choose between models, one from each cluster."""
SELECTION_SHARE: Final = 0.1
"""Maximum share of the clusters that these chains come from."""
SELECTION_LENGTHS: Final = (40, 256)
"""Shortest and longest of these chains."""
CONFIDENCE_SHARE: Final = 0.05
"""Share of the clusters that only the confidence stage is trained on."""
IDENTITY_STRATA: Final = (0.3, 0.5)
"""Limits of three strata of template identity, which are drawn equally often."""
MAX_TEMPLATE_HITS: Final = 20
"""Number of best hits from which several templates are drawn."""
MAX_DAMAGED: Final = 100
"""Maximum number of damaged chains drawn for one sample."""


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """The samples of a training stage.

    Attributes:
        name: Name of the stage; its random draws depend on it.
        chains: The part of the chains: `train`, or `confidence`, which other stages never use.
        batch_size: Samples in a step.
        crop_size: Residues in a sample.
        spatial_fraction: Share of longer chains that are cropped to the residues around one
            residue instead of a contiguous run.
        num_rows: Maximum number of alignment rows; fewer are drawn at random.
        num_extra_rows: Rows of the extra alignment.
        deleted_blocks: Blocks of neighbouring rows that are deleted from an alignment (SI
            Algorithm 1); with 0, rows are drawn one by one.
        max_passes: Maximum number of passes of the network; the number is drawn uniformly.
        template_fraction: Share of samples with templates from the chain's hits, if it has any.
        self_template_fraction: Share of samples whose template is a noised copy of the chain.
        single_row_fraction: Share of samples with a template that have no alignment.
        min_plddt: Minimum pLDDT of the residues of predicted structures that count in the losses.
    """

    name: str
    chains: str = "train"
    batch_size: int = 2
    crop_size: int = 64
    spatial_fraction: float = 0.0
    num_rows: int = 32
    num_extra_rows: int = 0
    deleted_blocks: int = 0
    max_passes: int = 1
    template_fraction: float = 0.6
    self_template_fraction: float = 0.0
    single_row_fraction: float = 0.2
    min_plddt: float = 0.0


@dataclass(frozen=True)
class Sample:
    """A crop of one chain.

    Attributes:
        features: Features of at most `crop_size` residues.
        draws: One draw of the alignment for each pass.
        truth: The known atoms of the crop.
        chance: A number drawn from [0, 1); the backbone FAPE of the sample is clamped unless this
            is below the stage's `unclamped_fraction`.
    """

    features: Features
    draws: tuple[MSADraw, ...]
    truth: KnownChain
    chance: float = 1.0


@dataclass(frozen=True)
class _Crop:
    """Some residues of the chain `name`: places, alignment codes, deletions, confident atoms."""

    name: str
    window: Int[np.ndarray, " C"]
    msa: Integer[np.ndarray, "M C"]
    deletions: Float[np.ndarray, "M C"]
    truth: KnownChain


class TrainingSet:
    """Chains to train on, in three parts of different clusters: train, selection, confidence.

    No part contains chains that resemble a validation or test chain (column `near` of the split's
    table) or that are excluded.

    Args:
        folder: The folder of packs, see `foldry.dataset.packs`.
        splits: Splits to train on; by default all whose name begins with `train`.
        exclude: Ids of chains to leave out; by default chains that resemble an example.
        features: How alignments and templates are drawn; by default as for `mini`.

    Attributes:
        parts: Ids of each part.
        weights: Sampling probabilities of each part's chains.
        validation: Ids of the chains to validate on: the part `selection` or, after
            `read_validation`, the split `val` if that part is empty.
        key: A hash of the parts; the same chains in the same parts have the same key.

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
        lengths: dict[str, int] = {}
        for split in splits:
            lengths |= read_lengths(folder / "splits" / f"{split}.tsv")
        lengths = {name: size for name, size in lengths.items() if name not in self.excluded}
        table = folder / "splits" / f"{CLUSTERS}.tsv"
        clusters = {row["id"]: row["cluster30"] for row in read_table(table, "id", "cluster30")}
        check_clusters(clusters, lengths, table)
        self.parts = partition(lengths, clusters)
        self.key = content_key([self.parts, lengths])[:12]
        self.held_back = frozenset(self.parts["selection"] + self.parts["confidence"])
        self.weights = {
            part: sampling_weights(names, lengths, clusters) for part, names in self.parts.items()
        }
        self.validation = self.parts["selection"]
        self.folder, self.splits = folder, tuple(splits)
        self._confident: dict[tuple[str, float], tuple[list[str], np.ndarray]] = {}

    def read_validation(self) -> None:
        """Read the split `val` to validate on, if there are too few clusters to hold some back.

        Raises:
            InputError: A pack or table of the split is missing or damaged.
        """
        table = self.folder / "splits" / f"{VALIDATION}.tsv"
        if not self.validation and VALIDATION not in self.splits and table.is_file():
            self.validation = [name for name in read_lengths(table) if name not in self.excluded]
            self.library = Library(self.folder, [*self.splits, VALIDATION])

    def samples(
        self, config: SampleConfig, seed: int, step: int, numbers: Sequence[int] | None = None
    ) -> tuple[list[Sample], int]:
        """Return samples of one step and the number of damaged chains drawn for them.

        A sample depends only on (seed, stage, step, number).

        Args:
            config: The stage.
            seed: The run's seed.
            step: The step, counted from 0.
            numbers: Numbers of the samples in the step; by default all.

        Raises:
            InputError: There is no chain to train on, or `MAX_DAMAGED` in a row are damaged.
        """
        key = [seed, zlib.crc32(config.name.encode()), step, 1]
        names = self._choose(config, np.random.default_rng(key), config.batch_size)
        samples, num_damaged = [], 0
        for number in range(config.batch_size) if numbers is None else numbers:
            rng = np.random.default_rng([*key, number])
            sample, damaged = self._intact(names[number], config, rng)
            samples.append(sample)
            num_damaged += damaged
        return samples, num_damaged

    def chains(self, config: SampleConfig) -> tuple[list[str], Float[np.ndarray, " C"]]:
        """Return the chains that a stage draws from, and their sampling probabilities.

        Raises:
            InputError: There is no chain, or none has a residue of the stage's minimum pLDDT.
        """
        names, weights = self.parts[config.chains], self.weights[config.chains]
        if not names:
            what = f"Stage {config.name} has no chain to train on"
            advice = (
                "give chains of at least 2 clusters besides those of the validation split, because "
                "at least one is kept for the training of confidence"
            )
            raise InputError(what, advice)
        if not config.min_plddt:
            return names, weights
        key = config.chains, config.min_plddt
        if key not in self._confident:
            best = np.array([self.library.best_plddt(name) for name in names])
            kept = np.flatnonzero(best >= config.min_plddt)
            if not len(kept):
                raise InputError(
                    f"Stage {config.name} has no residue with a pLDDT of {config.min_plddt:g} or "
                    f"more to train on; the highest is {best.max():.0f}",
                    "lower `min_plddt`, or give more confident predictions",
                )
            chosen = weights[kept] / weights[kept].sum()
            self._confident[key] = [names[place] for place in kept], chosen
        return self._confident[key]

    def _choose(self, config: SampleConfig, rng: np.random.Generator, count: int) -> list[str]:
        names, weights = self.chains(config)
        chosen: list[str] = rng.choice(names, count, p=weights).tolist()
        return chosen

    def _intact(
        self, name: str, config: SampleConfig, rng: np.random.Generator
    ) -> tuple[Sample, int]:
        """Return a sample of the chain, or another if damaged, and the number of damaged chains."""
        for damaged in range(MAX_DAMAGED):
            try:
                return self.sample(name, config, rng), damaged
            except InputError as error:
                logger.warning("%s is replaced by another chain in one sample: %s", name, error)
                [name] = self._choose(config, rng, 1)
        raise InputError(f"{MAX_DAMAGED} chains in a row are damaged", "make the data again")

    def sample(self, name: str, config: SampleConfig, rng: np.random.Generator) -> Sample:
        """Return a crop of one chain as training shows it, with alignment draws and templates.

        Raises:
            InputError: The chain or its alignment is damaged, or no residue reaches the minimum
                pLDDT.
        """
        crop = self._crop(name, config, rng)
        templates = self._templates(crop, config, rng)
        single = (
            any(each.mask.any() for each in templates) and rng.random() < config.single_row_fraction
        )
        kept = np.zeros(1, np.int64) if single else _rows(len(crop.msa), config, rng)
        shown = replace(crop, msa=crop.msa[kept], deletions=crop.deletions[kept])
        sample = self._made(shown, templates, config, int(rng.integers(2**62)))
        return replace(sample, chance=rng.random())

    def whole_sample(self, name: str, config: SampleConfig, seed: int) -> Sample:
        """Return a crop of one chain as a prediction would see it, without thinning or noise.

        The alignment is drawn from all rows. The templates are the best hits that cover part of
        the crop, if the stage has templates.

        Raises:
            InputError: As for `sample`.
        """
        rng = np.random.default_rng(seed)
        crop = self._crop(name, config, rng)
        hits = self._usable_hits(name) if config.template_fraction else []
        laid = (self.library.lay_hit(name, hit).window(crop.window) for hit in hits)
        best = list(islice(filter(_covers, laid), self.features.num_templates))
        return self._made(crop, best or [damage(crop.truth, 0.0, 1.0, rng)], config, seed)

    def _crop(self, name: str, config: SampleConfig, rng: np.random.Generator) -> _Crop:
        """Draw the residues of a sample."""
        chain = self.library.chain(name)
        msa, deletions = self.library.alignment(name)
        if not (np.isfinite(chain.positions).all() and np.array_equal(msa[0], chain.aatype)):
            what = f"{name} has an atom without finite coordinates, or another chain's alignment"
            raise InputError(what, "make its pack again")
        confident = chain.confident(config.min_plddt)
        if not confident.mask.any():
            what = f"{name} has no residue with a pLDDT of {config.min_plddt:g} or more"
            raise InputError(what, "leave it out")
        while True:
            window = choose_window(chain, config, rng)
            truth = confident.window(window)
            if truth.mask.any():
                return _Crop(name, window, msa[:, window], deletions[:, window], truth)

    def _made(
        self, crop: _Crop, templates: Sequence[KnownChain], config: SampleConfig, seed: int
    ) -> Sample:
        known = sequence_features(Query("sample", (Chain(("A",), crop.truth.sequence),)))
        drawn = replace(self.features, num_msa=config.num_rows, num_extra_msa=config.num_extra_rows)
        features = Features(
            **vars(replace(known, residue_index=crop.truth.residue_index)),
            msa=crop.msa,
            deletion_matrix=crop.deletions,
            templates=template_features(templates, self.features.num_templates),
            config=drawn,
            seed=seed,
            **alignment_statistics(crop.msa, self.features),
        )
        draws = tuple(draw_msa(features, number) for number in range(config.max_passes))
        return Sample(features, draws, crop.truth)

    def _templates(
        self, crop: _Crop, config: SampleConfig, rng: np.random.Generator
    ) -> list[KnownChain]:
        """Draw templates: a noised copy of the crop, hits, or an empty template."""
        nothing = [damage(crop.truth, 0.0, 1.0, rng)]
        if not self.features.num_templates:
            return nothing
        kind = rng.random()
        if kind < config.self_template_fraction:
            return [damage(crop.truth, rng.uniform(0.1, 1.0), rng.uniform(0.0, 0.3), rng)]
        hits = self._draw_hits(crop.name, rng)
        if kind >= config.self_template_fraction + config.template_fraction:
            return nothing
        laid = [self.library.lay_hit(crop.name, hit).window(crop.window) for hit in hits]
        laid = [
            damage(each, 0.3, rng.uniform(0.1, 0.4), rng) if rng.random() < 0.5 else each
            for each in laid
        ]
        return list(filter(_covers, laid)) or nothing

    def _usable_hits(self, name: str) -> list[Hit]:
        """Return a chain's template hits that are not excluded, the best first.

        Held-back chains are templates for held-back chains only, so that the trunk never sees
        them.
        """
        unseen = self.excluded if name in self.held_back else self.excluded | self.held_back
        return [hit for hit in self.library.hits(name) if hit.name not in unseen]

    def _draw_hits(self, name: str, rng: np.random.Generator) -> list[Hit]:
        """Draw template hits, at most as many as the network reads.

        A network with one template gets a hit from one of the chain's identity strata, drawn
        uniformly: most hits have a low identity, so that a uniform draw among hits would seldom
        show a good template. With several templates, min(Uniform[0, n], number of templates) of
        the n best hits are drawn (Jumper 2021, SI 1.2.2).
        """
        usable, slots = self._usable_hits(name), self.features.num_templates
        if slots > 1:
            best = usable[:MAX_TEMPLATE_HITS]
            number = min(int(rng.integers(len(best) + 1)), slots)
            return [best[place] for place in rng.permutation(len(best))[:number]]
        strata: dict[int, list[Hit]] = {}
        for hit in usable:
            stratum = int(np.searchsorted(IDENTITY_STRATA, hit.identity or 0.0, side="right"))
            strata.setdefault(stratum, []).append(hit)
        if not strata:
            return []
        drawn = strata[int(rng.choice(sorted(strata)))]
        return [drawn[int(rng.integers(len(drawn)))]]


def partition(lengths: Mapping[str, int], clusters: Mapping[str, str]) -> dict[str, list[str]]:
    """Divide chains into parts by whole clusters, always in the same way.

    Args:
        lengths: Number of residues of each chain.
        clusters: The cluster of each chain.

    Returns:
        Ids of the chains of each part.
    """
    members: dict[str, list[str]] = {}
    for name in sorted(lengths):
        members.setdefault(clusters[name], []).append(name)
    rng = np.random.default_rng(0)
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
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


def sampling_weights(
    names: Sequence[str], lengths: Mapping[str, int], clusters: Mapping[str, str]
) -> Float[np.ndarray, " C"]:
    """Return sampling probabilities p ∝ clip(length, 256, 512) / √(cluster size).

    A chain is drawn once for a crop, so longer chains are drawn more often, in proportion to their
    length up to the size of two crops (Jumper 2021, SI 1.2.5). Data banks contain some
    folds many times. AlphaFold draws each cluster equally often, by 1 / cluster size; the square
    root is a compromise for small data, where the members of a cluster still add variety.
    """
    sizes = Counter(clusters[name] for name in names)
    weights = np.array(
        [min(max(lengths[name], 256), 512) / sizes[clusters[name]] ** 0.5 for name in names]
    )
    weights /= weights.sum()
    return weights


def choose_window(
    chain: KnownChain, config: SampleConfig, rng: np.random.Generator
) -> Int[np.ndarray, " C"]:
    """Draw the residues of a sample: a contiguous run, or the residues around one of them."""
    if len(chain) > config.crop_size and rng.random() < config.spatial_fraction:
        known, one_chain = chain.mask[:, CA] > 0, np.zeros(len(chain), np.int64)
        return spatial_crop(chain.positions[:, CA], known, one_chain, config.crop_size, rng)
    return contiguous_crop([len(chain)], config.crop_size, rng)


def damage(chain: KnownChain, noise: float, share: float, rng: np.random.Generator) -> KnownChain:
    """Return a chain with noise, and with residues removed in 1 to 4 pieces.

    Removed residues have code 21 and no atoms.

    Args:
        chain: The chain.
        noise: Standard deviation of Gaussian noise on every coordinate, Å.
        share: Maximum share of the residues to remove.
        rng: Random numbers.
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


def template_features(
    templates: Sequence[KnownChain], num_templates: int
) -> TemplateFeatures | None:
    """Return the features of `num_templates` templates; None if that is 0.

    Missing templates, and those without atoms, are empty and masked.
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
    return replace(features, mask=np.asarray(mask.any(axis=(1, 2)), np.float32))


def _covers(template: KnownChain) -> bool:
    """Return whether enough residues of a template are known."""
    return bool(template.mask[:, CA].sum() >= MIN_PAIRS)


def _rows(count: int, config: SampleConfig, rng: np.random.Generator) -> Int[np.ndarray, " M"]:
    """Draw rows of an alignment, always with the first.

    Either blocks of rows are deleted, or all rows are kept half of the time and otherwise a number
    of rows that is uniform in its logarithm.
    """
    if config.deleted_blocks:
        return block_deletion(count, rng, num_blocks=config.deleted_blocks)
    if count == 1 or rng.random() < 0.5:
        return np.arange(count)
    kept = int(np.exp(rng.uniform(0, np.log(count))))
    return np.sort(np.append(rng.choice(count - 1, kept - 1, replace=False) + 1, 0))
