"""Ranked predictions → the same, the chosen ones relaxed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

from foldry.predict.prediction import Prediction
from foldry.predict.settings import Settings
from foldry.relax.relax import relax

PACKAGES = ("openmm", "pdbfixer")


def relaxed(prediction: Prediction, settings: Settings) -> Prediction:
    """The prediction with a relaxed structure, or as it was and why.

    Raises:
        InputError: OpenMM or PDBFixer is not installed, or the platform is not there.
    """
    structure, relaxation = relax(
        prediction.structure,
        settings.relax_platform,
        settings.relax_rounds,
        settings.relax_seconds,
    )
    if not relaxation.relaxed:
        return replace(prediction, relaxation=relaxation)
    provenance = prediction.provenance
    versions = provenance.versions | {package: version(package) for package in PACKAGES}
    return replace(
        prediction,
        structure=structure,
        unrelaxed=prediction,
        relaxation=relaxation,
        provenance=replace(
            provenance, versions=versions, settings=provenance.settings | settings.relaxation()
        ),
    )


def num_to_relax(predictions: Sequence[Prediction], settings: Settings) -> int:
    """How many of the ranked predictions are to be relaxed, from the best on."""
    return {"none": 0, "best": 1, "all": len(predictions)}[settings.relax]
