"""Training samples: which chains, what is cropped, drawn and masked, and with which template.

Everything random follows from (seed, stage, step), so any step's samples can be made again.
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

from foldry.dataset.packs import CLUSTERS, KnownChain, Library, check_clusters, read_table
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
from foldry.weights.bundled import excluded_chains

logger = logging.getLogger(__name__)

PARTS: Final = ("train", "selection", "confidence")
NUM_SELECTION: Final = 60
"""Most chains held back to choose between models, one from each cluster."""
SELECTION_SHARE: Final = 0.1
"""The largest share of the clusters that these chains come from."""
SELECTION_LENGTHS: Final = (40, 256)
CONFIDENCE_SHARE: Final = 0.05
"""Share of the clusters held back from all but the confidence stage."""
IDENTITY_STRATA: Final = (0.3, 0.5)
"""Templates below, between and above are drawn equally often."""
MAX_TEMPLATE_HITS: Final = 20
"""Best hits that several templates are drawn from."""
MAX_DAMAGED: Final = 100
"""Damaged chains drawn for one sample before it is given up."""


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """What the samples of a training stage are.

    Attributes:
        name: What the stage is called; its random draws follow from it.
        chains: Which part of the chains: `train`, or `confidence`, which the others never see.
        batch_size: Samples in a step.
        crop_size: Residues in a sample.
        spatial_fraction: Share of the longer chains that are cropped to the residues around one,
            not to a run.
        num_rows: Alignment rows at most; fewer are drawn at random.
        num_extra_rows: Rows of the extra alignment.
        deleted_blocks: Blocks of neighbouring rows that an alignment is drawn without (SI
            Algorithm 1); with 0 it is thinned by drawing rows.
        max_passes: Passes of the network in a sample, drawn evenly from 1 up to this.
        template_fraction: Share of the samples with templates from the chain's hits, if any.
        self_template_fraction: Share of the samples whose template is the chain itself with noise.
        single_row_fraction: Share of the samples with a template that have no alignment.
        min_plddt: Residues of predicted structures count in the losses from this pLDDT on.
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
        features: Of at most `crop_size` residues.
        draws: One draw of the alignment for each pass.
        truth: The crop's atoms.
        chance: A number drawn from [0, 1); below a stage's `unclamped_fraction` the sample's
            backbone FAPE is not clamped.
    """

    features: Features
    draws: tuple[MSADraw, ...]
    truth: KnownChain
    chance: float = 1.0


@dataclass(frozen=True)
class _Crop:
    """Some residues of the chain `name`: their places, rows, deletions, and confident atoms."""

    name: str
    window: Int[np.ndarray, " C"]
    msa: Integer[np.ndarray, "M C"]
    deletions: Float[np.ndarray, "M C"]
    truth: KnownChain


class TrainingSet:
    """Chains to train on, in three parts of different clusters: train, selection, confidence.

    Chains that resemble a validation or test chain (column `near` of the split's table) and those
    of `exclude` are in no part.

    Args:
        folder: The folder of packs, see `foldry.dataset.packs`.
        splits: The splits to train on; None takes all whose name begins with `train`.
        exclude: Ids never to be trained on; None takes those that resemble an example.
        features: How alignments and templates are drawn; None takes mini's way.

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
        clusters = {row["id"]: row["cluster30"] for row in read_table(table)}
        check_clusters(clusters, lengths, table)
        self.parts = partition(lengths, clusters)
        self.held_back = frozenset(self.parts["selection"] + self.parts["confidence"])
        self.weights = {
            part: sampling_weights(names, lengths, clusters) for part, names in self.parts.items()
        }
        self._confident: dict[tuple[str, float], tuple[list[str], np.ndarray]] = {}

    def samples(
        self, config: SampleConfig, seed: int, step: int, numbers: Sequence[int] | None = None
    ) -> tuple[list[Sample], int]:
        """Some samples of one step, by their numbers in it; all if left out.

        A sample follows from (seed, stage, step, number) alone, whoever makes it.

        Returns:
            The samples, and how many chains were drawn for them and found damaged.
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
        """The chains that a stage draws from, and how often each is drawn.

        Raises:
            InputError: There is none, or none has a residue of the stage's pLDDT.
        """
        names, weights = self.parts[config.chains], self.weights[config.chains]
        if not names:
            what = f"Stage {config.name} has no chain to train on"
            raise InputError(what, "give chains of more clusters")
        if not config.min_plddt:
            return names, weights
        key = config.chains, config.min_plddt
        if key not in self._confident:
            best = np.array([self.library.best_plddt(name) for name in names])
            kept = np.flatnonzero(best >= config.min_plddt)
            if not len(kept):
                raise InputError(
                    f"Stage {config.name} has no residue of pLDDT {config.min_plddt:g} to train "
                    f"on, the best has {best.max():.0f}",
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
        """A sample of the chain or, where that is damaged, of another; how many were damaged."""
        for damaged in range(MAX_DAMAGED):
            try:
                return self.sample(name, config, rng), damaged
            except InputError as error:
                logger.warning("%s is left out once: %s", name, error)
                [name] = self._choose(config, rng, 1)
        raise InputError(f"{MAX_DAMAGED} chains in a row are damaged", "make the data again")

    def sample(self, name: str, config: SampleConfig, rng: np.random.Generator) -> Sample:
        """A crop of one chain, its alignment's draws and its templates, as training shows them.

        Raises:
            InputError: The chain or its alignment is damaged, or no residue is confident.
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
        """A crop of one chain as a prediction would see it: nothing is thinned or damaged.

        The draws are of the whole alignment. The templates are the best hits that cover some of
        the crop, where there are any and the stage has templates.

        Raises:
            InputError: As `sample`.
        """
        rng = np.random.default_rng(seed)
        crop = self._crop(name, config, rng)
        hits = self._usable_hits(name) if config.template_fraction else []
        laid = (self.library.lay_hit(name, hit).window(crop.window) for hit in hits)
        best = list(islice(filter(_covers, laid), self.features.num_templates))
        return self._made(crop, best or [damage(crop.truth, 0.0, 1.0, rng)], config, seed)

    def _crop(self, name: str, config: SampleConfig, rng: np.random.Generator) -> _Crop:
        """The residues of a sample."""
        chain = self.library.chain(name)
        msa, deletions = self.library.alignment(name)
        if not (np.isfinite(chain.positions).all() and np.array_equal(msa[0], chain.aatype)):
            what = f"{name} has an atom that is nowhere, or an alignment of another sequence"
            raise InputError(what, "make its pack again")
        confident = chain.confident(config.min_plddt)
        if not confident.mask.any():
            raise InputError(f"{name} has no residue of pLDDT {config.min_plddt:g}", "leave it out")
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
        """Templates of the crop: the crop itself with noise, some of the hits, or nothing."""
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
        """A chain's template hits that are not excluded, the best first.

        Held-back chains are templates of held-back chains alone: the trunk never sees them.
        """
        unseen = self.excluded if name in self.held_back else self.excluded | self.held_back
        return [hit for hit in self.library.hits(name) if hit.name not in unseen]

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
            stratum = int(np.searchsorted(IDENTITY_STRATA, hit.identity or 0.0, side="right"))
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
    """Probabilities by 1/√(cluster size) and by length, clipped to 256 … 512 residues.

    The length's part is that of AlphaFold's training (Jumper 2021, SI 1.2.5).
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
    """The residues of a sample: a run of them, or those around one of them."""
    if len(chain) > config.crop_size and rng.random() < config.spatial_fraction:
        known, one_chain = chain.mask[:, CA] > 0, np.zeros(len(chain), np.int64)
        return spatial_crop(chain.positions[:, CA], known, one_chain, config.crop_size, rng)
    return contiguous_crop([len(chain)], config.crop_size, rng)


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
    return replace(features, mask=np.asarray(mask.any(axis=(1, 2)), np.float32))


def _covers(template: KnownChain) -> bool:
    """Whether enough of a template's residues are known for it to be one."""
    return bool(template.mask[:, CA].sum() >= MIN_PAIRS)


def _rows(count: int, config: SampleConfig, rng: np.random.Generator) -> Int[np.ndarray, " M"]:
    """Rows of an alignment, the first always: all but blocks, or half the time all, else some."""
    if config.deleted_blocks:
        return block_deletion(count, rng, num_blocks=config.deleted_blocks)
    if count == 1 or rng.random() < 0.5:
        return np.arange(count)
    kept = int(np.exp(rng.uniform(0, np.log(count))))
    return np.sort(np.append(rng.choice(count - 1, kept - 1, replace=False) + 1, 0))
