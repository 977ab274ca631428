"""Ranked predictions → the same, the chosen ones relaxed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

from foldry.predict.resume import Store
from foldry.predict.settings import Settings
from foldry.relax.relax import relax
from foldry.relax.result import Relaxation
from foldry.results.prediction import Prediction
from foldry.structure import Structure

PACKAGES = ("openmm", "pdbfixer")


def relaxed(prediction: Prediction, settings: Settings, store: Store | None = None) -> Prediction:
    """The prediction with a relaxed structure, or as it was and why.

    What the store has kept is not relaxed again, unless `settings.force` says so.

    Raises:
        MissingError: OpenMM or PDBFixer is not installed, or the platform is not there.
    """
    model = prediction.structure
    kept = store.load_relaxed(model, _versions()) if store and not settings.force else None
    structure, relaxation = kept or _relax(model, settings, store)
    if not relaxation.relaxed:
        return replace(prediction, relaxation=relaxation)
    provenance = prediction.provenance
    versions = provenance.versions | _versions()
    return replace(
        prediction,
        structure=structure,
        unrelaxed=prediction,
        relaxation=relaxation,
        provenance=replace(
            provenance, versions=versions, settings=provenance.settings | settings.relaxation()
        ),
    )


def _relax(
    model: Structure, settings: Settings, store: Store | None
) -> tuple[Structure, Relaxation]:
    structure, relaxation = relax(
        model, settings.relax_platform, settings.relax_rounds, settings.relax_seconds
    )
    if store and relaxation.relaxed:  # what failed is tried again
        store.save_relaxed(model, _versions(), structure, relaxation)
    return structure, relaxation


def _versions() -> dict[str, str]:
    """What computes a relaxation; another version may end at another structure."""
    return {package: version(package) for package in PACKAGES}


def num_to_relax(predictions: Sequence[Prediction], settings: Settings) -> int:
    """How many of the ranked predictions are to be relaxed, from the best on."""
    return {"none": 0, "best": 1, "all": len(predictions)}[settings.relax]
