"""What a structure file states about its B factors: an experiment, or measures of quality.

ModelCIF declares measures in `_ma_qa_metric` and may list their values for each residue.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import repeat
from math import isfinite
from typing import Final, TypeAlias

import gemmi
from gemmi.cif import as_number, as_string

PLDDT: Final = "pLDDT"
OTHER: Final = "other"
PREDICTION: Final = "prediction"

_NAME: Final = re.compile(r"p(redicted)?[\s_-]*lddt", re.IGNORECASE)
_GENERAL: Final = {"", "other", "normalized score"}
"""Types that leave it to the name of a metric what it is."""
_MODELLED: Final = ("model", "predict", "comput", "silico")
"""Words in the methods of predictions, e.g. `THEORETICAL MODEL`."""
_OTHER_SCORES: Final = ("modeller", "swiss-model")
"""Programs that name themselves as the method and write other scores of each residue."""
_SAME: Final = 0.05
"""Largest difference (0–100) between equal values that are rounded differently."""
_LOCAL: Final = "_ma_qa_metric_local."
_Place: TypeAlias = tuple[str, str, str]
"""Number of the model, `label_asym_id` and `label_seq_id`."""


def b_factors(block: gemmi.cif.Block | None, method: str, resolution: float) -> str:
    """Return what a file states that its B factors are.

    Args:
        block: The data block; None for a PDB file.
        method: The experimental method in lower case, or "".
        resolution: Å, or 0.

    Returns:
        `PLDDT`; `OTHER` for an experiment or other measures; `PREDICTION` if only the pLDDT of the
        whole model is stated; "" if nothing is.
    """
    metrics = list(_metrics(block))
    local = [is_plddt for _, mode, is_plddt in metrics if mode == "local"]
    if local:
        return PLDDT if any(local) else OTHER
    measured = resolution > 0 or (method and not any(word in method for word in _MODELLED))
    if measured or any(name in method for name in _OTHER_SCORES):
        return OTHER
    if metrics:
        return PREDICTION if any(is_plddt for *_, is_plddt in metrics) else OTHER
    return ""


def write_plddt(block: gemmi.cif.Block) -> None:
    """Write the first pLDDT that a file lists for each residue into its B factors.

    They are left as they are if they agree with the list at each Cα. Otherwise, they are shares
    (0–1), other values of single atoms, or something else.
    """
    metric = _first(block)
    if metric is None:
        return
    values = block.find_values("_atom_site.B_iso_or_equiv")
    places = list(_places(block, "_atom_site.", "pdbx_PDB_model_num"))
    atoms = zip(places, block.find_values("_atom_site.label_atom_id"), values, strict=False)
    found = {place: as_number(b) for place, atom, b in atoms if as_string(atom) == "CA"}
    listed = _listed(block, metric, found)
    if any(abs(plddt - found[place]) > _SAME for place, plddt in listed.items()):
        for row, place in enumerate(places):
            if place in listed:
                values[row] = f"{listed[place]:.3f}"


def local_plddt(block: gemmi.cif.Block) -> dict[tuple[str, str], float]:
    """Return the first pLDDT (0–100) that a file lists, by `label_asym_id` and `label_seq_id`.

    Of several models, the first counts.
    """
    metric = _first(block)
    listed = {} if metric is None else _listed(block, metric)
    first = next(iter(listed), ("",))[0]
    return {place[1:]: value for place, value in listed.items() if place[0] == first}


def _first(block: gemmi.cif.Block) -> str | None:
    """Return the id of the first pLDDT of residues, or None."""
    metrics = (id_ for id_, mode, is_plddt in _metrics(block) if mode == "local" and is_plddt)
    return next(metrics, None)


def _listed(
    block: gemmi.cif.Block, metric: str, places: Collection[_Place] | None = None
) -> dict[_Place, float]:
    """Return the pLDDT (0–100) that is listed under the id of a metric, perhaps for some places."""
    found = {}
    columns = (block.find_values(_LOCAL + tag) for tag in ("metric_id", "metric_value"))
    for place, id_, text in zip(_places(block, _LOCAL, "model_id"), *columns, strict=False):
        if (
            id_ == metric
            and (places is None or place in places)
            and isfinite(value := as_number(text))
        ):
            found[place] = value
    scale = 100 if max(found.values(), default=0) <= 1 else 1
    return {place: scale * value for place, value in found.items()}


def _places(block: gemmi.cif.Block, category: str, model: str) -> Iterator[_Place]:
    """Yield the place of each row; a model that is the only one is called ""."""
    models = block.find_values(category + model)
    one = all(map(models[0].__eq__, models)) if len(models) else True
    columns = (block.find_values(category + tag) for tag in ("label_asym_id", "label_seq_id"))
    return zip(repeat("") if one else models, *columns, strict=False)


def _metrics(block: gemmi.cif.Block | None) -> Iterator[tuple[str, str, bool]]:
    """Yield the id and the mode of each metric, and whether it is pLDDT."""
    tags = ["id", "?mode", "?type", "?name"]
    for row in block.find("_ma_qa_metric.", tags) if block else ():
        mode, kind, name = (row.str(n).lower() if row.has(n) else "" for n in range(1, 4))
        yield row[0], mode or "local", bool(_NAME.search(name if kind in _GENERAL else kind))
