"""The names of all scores, and how they are handed on: JSON and rows of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from foldry.score.assess import Assessment


@dataclass(frozen=True)
class Number:
    """One number of an assessment.

    Attributes:
        key: Its name in JSON and CSV, OpenStructure's where the meaning is the same.
        get: The number, None where it has no meaning.
        label: Its name for people; "" if it stands in files only.
        meaning: What people are told of it.
    """

    key: str
    get: Callable[[Assessment], float | None]
    label: str = ""
    meaning: str = ""


NUMBERS: Final = (
    Number("lddt", lambda a: a.scores.lddt, "lDDT", "all atoms, 0–1"),
    Number("bb_lddt", lambda a: a.scores.lddt_ca, "lDDT-Cα", "Cα atoms, 0–1"),
    Number("lddt_backbone", lambda a: a.scores.lddt_backbone, "lDDT-backbone", "N, CA, C, O, 0–1"),
    Number("tm_score", lambda a: a.scores.tm_score, "TM-score", "0–1; above 0.5 the same fold"),
    Number("gdt_ts", lambda a: a.scores.gdt_ts, "GDT_TS", "0–1, within 1, 2, 4, 8 Å"),
    Number("gdt_ha", lambda a: a.scores.gdt_ha, "GDT_HA", "0–1, within 0.5, 1, 2, 4 Å"),
    Number("oligo_gdtts", lambda a: a.scores.oligo_gdt_ts),
    Number("oligo_gdtha", lambda a: a.scores.oligo_gdt_ha),
    Number("rmsd", lambda a: a.scores.rmsd_ca, "RMSD", "Å, matched Cα atoms"),
    Number("num_matched", lambda a: a.scores.num_matched),
    Number("num_reference", lambda a: a.scores.num_reference),
)
"""Every number, in the order in which it is shown."""


def numbers(assessment: Assessment) -> tuple[float | None, ...]:
    """One for each of `NUMBERS`, with four decimals; None where it has no meaning."""
    return tuple(rounded(each.get(assessment)) for each in NUMBERS)


def to_json(assessment: Assessment) -> dict[str, object]:
    """The assessment under OpenStructure's names where the meaning is the same; NaN is null."""
    scores, match = assessment.scores, assessment.scores.match

    def local(values: np.ndarray) -> dict[str, float | None]:
        return {
            label: rounded(value)
            for label, value in zip(scores.local_labels, values, strict=True)
            if label
        }

    return {
        "status": "SUCCESS",
        "model": scores.model_name,
        "reference": scores.reference_name,
        **dict(zip((each.key for each in NUMBERS), numbers(assessment), strict=True)),
        "model_chains": [here for here, _ in match.chains],
        "reference_chains": [there for _, there in match.chains],
        "chain_mapping": {there: here for here, there in match.chains},
        "inconsistent_residues": list(match.mismatched),
        "unmatched_model": list(match.unmatched_model),
        "unmatched_reference": list(match.unmatched_reference),
        "local_lddt": local(scores.lddt_per_residue),
        "bb_local_lddt": local(scores.lddt_ca_per_residue),
    }


def rounded(value: float | None) -> float | None:
    """With four decimals, counts as they are; None for what is not a finite number."""
    if value is None or isinstance(value, int):
        return value
    return round(float(value), 4) if np.isfinite(value) else None
