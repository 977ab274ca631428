"""The stages of a prediction, each a function of the result of the previous stage.

    Query → featurise → Features → infer → RawPrediction → assemble → Prediction → relax

Each stage has a content key, made from the key of the previous stage and everything else that
changes its result. A result that was kept under this key need not be computed again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float

from foldry.errors import InputError
from foldry.features.config import DEFAULT_PAIRING
from foldry.features.features import Features
from foldry.features.msa import draw_msa
from foldry.features.pipeline import make_features
from foldry.features.templates import UnlikeError, align_template, profiles
from foldry.kernels.matmul import process_settings, threads_for
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig
from foldry.model.inputs import MSAInputs, stack_draws, stack_features
from foldry.predict.confidence import confidence, of_member
from foldry.predict.network import config_of, configured, set_dropout
from foldry.predict.recycle import Begin, Recycling, recycle
from foldry.predict.settings import Settings
from foldry.query import Chain, Hit, Query
from foldry.relax.relax import relax_structure
from foldry.relax.result import Relaxation
from foldry.residues import ATOM37_MASK, C, N, encode_sequence
from foldry.results.prediction import Confidence, Prediction, Provenance
from foldry.results.render import template_names
from foldry.store.hashes import content_key
from foldry.structure import Structure
from foldry.weights.networks import NetworkFile

MAX_TEMPLATES: Final = 20
"""Number of given structures that become templates of a chain; AlphaFold keeps as many hits."""
MAX_E_VALUE: Final = 1e-3
"""E-value above which a structure may be unrelated to a chain."""
MAX_TRIED: Final = 4
"""Number of templates that a network for one template tries; AlphaFold reads as many at once."""
_COMPUTES: Final = ("foldry", "torch", "numpy")
_RELAXES: Final = ("openmm", "pdbfixer")

logger = logging.getLogger(__name__)

version = cache(metadata.version)


@dataclass(frozen=True, eq=False, kw_only=True)
class RawPrediction(Confidence):
    """The output of a network.

    Attributes:
        atom_positions: Positions in Å; zero for atoms that a residue does not have.
        num_recycles: Number of recycles that ran.
        single, pair: The final representations; None unless requested.
    """

    atom_positions: Float[np.ndarray, "N 37 3"]
    num_recycles: int
    single: Float[np.ndarray, "N c_s"] | None = None
    pair: Float[np.ndarray, "N N c_z"] | None = None


def with_templates(query: Query, templates: Sequence[Structure], *, quiet: bool = False) -> Query:
    """Return the query with known structures as additional templates, before those it has.

    A structure is aligned with the profile of a chain's alignment (`foldry.align.profile`). In a
    complex, each structure becomes a template of all chains to which it can be aligned. Those
    with the most identical residues come first, and at most `MAX_TEMPLATES` of them are kept.
    Unless it is to be `quiet`, a warning names a structure that no chain can use, a chain that is
    similar although the structure cannot be used, and a template that aligns no better than
    unrelated ones may.

    Raises:
        InputError: A template is not usable, or none can be aligned to any chain.
    """
    if not templates:
        return query
    profile_of = profiles(query)
    hits: list[list[Hit]] = [[] for _ in query.chains]
    unlike: list[InputError] = []
    for template in templates:
        refusals: dict[str, InputError] = {}
        for chain, of_chain in zip(query.chains, hits, strict=True):
            try:
                of_chain.append(align_template(profile_of[chain.sequence], template))
            except InputError as error:
                refusals[chain.ids[0]] = error
        faults = {name: e for name, e in refusals.items() if not isinstance(e, UnlikeError)}
        if len(refusals) == len(query.chains):
            if faults:
                raise next(iter(faults.values()))
            unlike.append(next(iter(refusals.values())))
            continue
        for name, fault in faults.items() if not quiet else ():
            logger.warning("Chain %s of %s has no template: %s", name, query.name, fault)
    if len(unlike) == len(templates):
        raise unlike[0]
    if unlike and not quiet:
        says = "%d of %d templates are not used for %s. %s"
        logger.warning(says, len(unlike), len(templates), query.name, unlike[0])
    chains = []
    for chain, of_chain in zip(query.chains, hits, strict=True):
        of_chain.sort(key=lambda hit: -_identical(hit, chain).sum())
        kept = of_chain[:MAX_TEMPLATES]
        for hit in kept if not quiet else ():
            _remark(hit, chain, query)
        chains.append(replace(chain, templates=(*kept, *chain.templates)))
    return replace(query, chains=tuple(chains))


def _identical(hit: Hit, chain: Chain) -> Bool[np.ndarray, " P"]:
    """Return which of the aligned residues are identical."""
    here, there = hit.pairs.T
    found = encode_sequence(chain.sequence)[here] == hit.known_structure().aatype[there]
    return np.asarray(found)


def _remark(hit: Hit, chain: Chain, query: Query) -> None:
    """Log how well a template fits; warn if it may be unrelated."""
    equal = _identical(hit, chain)
    related = hit.e_value is not None and hit.e_value <= MAX_E_VALUE
    logger.log(
        logging.INFO if related else logging.WARNING,
        "Template %s%s chain %s of %s: %d of %d aligned residues are identical.",
        hit.name,
        " for" if related else " may be unrelated to",
        chain.ids[0],
        query.name,
        equal.sum(),
        len(equal),
    )
    there = hit.pairs[:, 1]
    if not hit.known_structure().atom_mask[there][:, [N, C]].any():
        says = "Template %s has hardly any effect, because it has Cα atoms alone."
        logger.warning(says, hit.name)


def featurise(query: Query, config: ModelConfig, seed: int, settings: Settings) -> Features:
    """Return the features that a network reads, without the random draws of the alignment.

    Raises:
        InputError: The query has several chains and the network reads one, or an alignment or a
            template does not fit its chain.
    """
    return make_features(query, configured(config, settings).features, seed, settings.pairing)


def pairs_rows(query: Query) -> bool:
    """Return whether rows may be paired by species: those of two chains, not all equal."""
    aligned = {c.sequence for c in query.chains for each in c.alignments if each.num_rows > 1}
    sequences = [chain.sequence for chain in query.chains for _ in chain.ids]
    several = len(set(sequences)) > 1 and sum(each in aligned for each in sequences) > 1
    return several and not query.paired_by_row


def seeds_of(query: Query, settings: Settings) -> tuple[int, ...]:
    """Return the seeds with which a query is predicted."""
    return tuple(dict.fromkeys(settings.seeds or query.seeds or (0,)))


def tried_queries(query: Query, config: ModelConfig) -> list[Query]:
    """Return the queries that a network predicts to keep the best prediction.

    A network that reads one template tries the first `MAX_TRIED` of them, one per query; in a
    complex, the t-th query has the t-th template of every chain. It follows a template closely, so
    that it does not read those of a search that may be unrelated. Other networks predict only the
    query itself.
    """
    query = _related(query, config)
    number = min(max(len(chain.templates) for chain in query.chains), MAX_TRIED)
    if config.features.num_templates != 1 or number < 2:
        return [query]

    def chains(t: int) -> tuple[Chain, ...]:
        return tuple(replace(each, templates=each.templates[t : t + 1]) for each in query.chains)

    return [replace(query, chains=chains(t)) for t in range(number)]


def _related(query: Query, config: ModelConfig) -> Query:
    """Return a query without the templates that a network for one template does not read."""

    def related(hits: Sequence[Hit]) -> tuple[Hit, ...]:
        return tuple(e for e in hits if not e.how or (e.e_value or 0.0) <= MAX_E_VALUE)

    if config.features.num_templates != 1:
        return query
    chains = [replace(each, templates=related(each.templates)) for each in query.chains]
    return replace(query, chains=tuple(chains))


def num_unrelated(query: Query, config: ModelConfig) -> int:
    """Return the number of templates that a network does not read, as they may be unrelated."""
    read = _related(query, config)
    pairs = zip(query.chains, read.chains, strict=True)
    return sum(len(each.templates) - len(kept.templates) for each, kept in pairs)


def features_key(query: Query, network: NetworkFile, seed: int, settings: Settings) -> str:
    """Return the content key of `featurise`."""
    how, read = settings.of_stage("featurise"), _related(query, config_of(network))
    if not pairs_rows(query):
        how["pairing"] = DEFAULT_PAIRING  # results of another value need not be computed again
    if (tried := len(tried_queries(query, config_of(network)))) > 1:
        how["templates_tried"] = tried
    parts = read.inputs_key, network.name, network.sha256(), seed, how
    return content_key(["features", version("foldry"), *parts])


def infer_best(
    query: Query, model: AlphaFold, seed: int, settings: Settings, begin: Begin
) -> tuple[Query, RawPrediction]:
    """Return the best of one network's predictions, and which of `tried_queries` it is made from.

    `begin` is called before each pass of any of them, as by `recycle`. A warning names a template
    that cannot be used, unless none can.

    Raises:
        InputError: As for `featurise`.
        ArithmeticError: As for `infer`.
    """
    tried = tried_queries(query, model.config)

    def predicted(number: int) -> tuple[Query, RawPrediction]:
        def show(done: int, most: int) -> None:
            begin(number * most + done, len(tried) * most)

        features = featurise(tried[number], model.config, seed, settings)
        return tried[number], infer(features, model, settings, show)

    found: list[tuple[Query, RawPrediction]] = []
    for number in range(len(tried)):
        try:
            found.append(predicted(number))
        except (InputError, ArithmeticError) as error:
            if not found and number == len(tried) - 1:
                raise
            logger.warning("Template %d of %s is not used: %s", number + 1, query.name, error)
    return max(found, key=lambda pair: pair[1].ranking_confidence)


def infer(features: Features, model: AlphaFold, settings: Settings, begin: Begin) -> RawPrediction:
    """Return one network's prediction; the caller's random state does not change.

    Raises:
        ArithmeticError: The network returned numbers that are not finite.
    """
    [raw] = infer_batch([features], model, settings, begin)
    if isinstance(raw, ArithmeticError):
        raise raw
    return raw


def infer_batch(
    batch: Sequence[Features], model: AlphaFold, settings: Settings, begin: Begin
) -> list[RawPrediction | ArithmeticError]:
    """Return one network's predictions for several features that pass it together.

    Shorter ones are padded. Except for rounding, the results are those of `infer`, unless dropout
    is on. `foldry.predict.batches` says where a batch saves time.

    Args:
        batch: Features; an optional field is None in all of them or in none.
        model: The network.
        settings: The settings.
        begin: Called before each pass, as by `recycle`.

    Returns:
        The prediction of each member, or an error if its numbers are not finite.
    """
    config, device = configured(model.config, settings), model.runtime.device
    inputs = stack_features(batch, device)

    def draw(cycle: int) -> list[MSAInputs]:
        return [
            stack_draws([draw_msa(features, cycle, number) for features in batch], device)
            for number in range(config.features.num_ensemble)
        ]

    once = cache(draw)
    set_dropout(model, settings.dropout)
    on_gpu = device.type == "cuda"
    with (
        torch.random.fork_rng([device] if on_gpu else []),
        torch.inference_mode(),
        threads_for(config.c_pair, max(len(features.aatype) for features in batch)),
    ):
        seed = batch[0].seed
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed all devices
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        found: dict[int, RawPrediction | ArithmeticError] = {}
        passes = recycle(
            model,
            inputs,
            draw if config.features.resample_msa else lambda _: once(0),
            config.num_recycles,
            config.recycle_tolerance,
            begin,
        )
        for ended, members in passes:
            logits = model.predict_heads(ended.result)
            for member in members:
                asym_id = batch[member].asym_id
                sure = confidence(of_member(logits, member, len(asym_id)), asym_id, config)
                found[member] = _raw(ended, member, sure, settings.save_representations)
    return [found[member] for member in range(len(batch))]


def _raw(
    ended: Recycling, member: int, sure: Confidence, with_representations: bool
) -> RawPrediction | ArithmeticError:
    """Return one member of a batch without its padding."""
    length = len(sure.plddt)
    atoms = ended.result.atom37[member, :length].double().cpu().numpy()
    if not np.isfinite(atoms).all() or not np.isfinite(sure.plddt).all():
        return ArithmeticError("The network returned numbers that are not finite")
    kept: dict[str, Any] = {}
    if with_representations:
        final = ended.result.representations
        kept["single"] = final.single[member, :length].float().cpu().numpy()
        kept["pair"] = final.pair[member, :length, :length].float().cpu().numpy()
    found = {each.name: getattr(sure, each.name) for each in fields(sure)}
    return RawPrediction(**found, atom_positions=atoms, num_recycles=ended.num_recycles, **kept)


def prediction_key(features: str, settings: Settings) -> str:
    """Return the content key of `infer` and `assemble`, from the key of the features."""
    return content_key(["prediction", version("foldry"), features, settings.of_stage("infer")])


def assemble(query: Query, raw: RawPrediction, provenance: Provenance) -> Prediction:
    """Return a network's output as a structure with the query's chains."""
    copies = [(name, chain.sequence) for chain in query.chains for name in chain.ids]
    aatype = encode_sequence("".join(sequence for _, sequence in copies))
    mask = ATOM37_MASK[aatype] > 0
    structure = Structure(
        name=query.name,
        aatype=aatype,
        residue_number=np.concatenate([np.arange(1, len(each) + 1) for _, each in copies]),
        insertion_code=np.full(len(aatype), ""),
        chain_id=np.concatenate([np.full(len(each), name) for name, each in copies]),
        atom_positions=raw.atom_positions * mask[..., None],
        atom_mask=mask,
        b_factor=raw.plddt[:, None] * mask,
    )
    names = {each.name for each in fields(raw)} - {"atom_positions", "num_recycles"}
    numbers = {name: getattr(raw, name) for name in names}
    return Prediction(query=query, structure=structure, provenance=provenance, **numbers)


def provenance(
    query: Query,
    network: NetworkFile,
    model: AlphaFold,
    seed: int,
    raw: RawPrediction,
    settings: Settings,
) -> Provenance:
    """Return the provenance of a prediction made now on this machine.

    `query` has the templates that the network was given, at least those that it read.
    """
    with threads_for(model.config.c_pair, query.num_residues):
        process = process_settings()
    return Provenance(
        model_name=network.name,
        weights=network.path.name,
        weights_sha256=network.sha256(),
        seed=seed,
        num_recycles=raw.num_recycles,
        config=configured(model.config, settings).to_dict(),
        settings=settings.of_stage("featurise", "infer"),
        kernels=model.runtime.kernels.names(),
        device=str(model.runtime.device),
        dtype=settings.dtype,
        versions=_versions(_COMPUTES),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        notice=network.notice,
        licence=network.licence,
        process=process,
        templates_read=template_names(query, model.config.features.num_templates),
    )


def relax(prediction: Prediction, settings: Settings) -> Prediction:
    """Return the prediction with a relaxed structure, or unchanged with the reason.

    Raises:
        MissingError: OpenMM, PDBFixer or the platform is missing.
    """
    structure, relaxation = relax_structure(
        prediction.structure,
        settings.relax_platform,
        settings.relax_rounds,
        settings.relax_seconds,
    )
    # The argument `max_seconds` is the setting `relax_seconds`.
    relaxation = replace(relaxation, reason=relaxation.reason.replace("`max_", "`relax_"))
    return relaxed(prediction, structure, relaxation, settings)


def relaxed(
    prediction: Prediction, structure: Structure, relaxation: Relaxation, settings: Settings
) -> Prediction:
    """Return the prediction with the result of its relaxation."""
    if not relaxation.relaxed:
        return replace(prediction, relaxation=relaxation)
    before = prediction.provenance
    return replace(
        prediction,
        structure=structure,
        unrelaxed=prediction,
        relaxation=relaxation,
        provenance=replace(
            before,
            versions=before.versions | _versions(_RELAXES),
            settings=before.settings | settings.relaxation(),
        ),
    )


def relaxed_key(prediction: Prediction, settings: Settings) -> str:
    """Return the content key of `relax`, which includes the versions of its programs."""
    how = settings.of_stage("relax")
    del how["relax"]  # the choice of predictions does not change their relaxation
    atoms = asdict(prediction.structure)
    return content_key(["relaxed", version("foldry"), atoms, how, _versions(_RELAXES)])


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    return {package: version(package) for package in packages}
