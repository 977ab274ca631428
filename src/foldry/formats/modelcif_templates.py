"""Templates in ModelCIF: known structures, their alignments to the chains, and their identities."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from typing import Final

import modelcif
import modelcif.alignment
import modelcif.data
import modelcif.reference
import numpy as np

from foldry.query import Hit
from foldry.residues import encode_sequence

_PDB: Final = re.compile("[0-9][A-Za-z0-9]{3}|pdb_[0-9a-z]{8}")
_GAP: Final = "-"


class _Alignment(modelcif.alignment.Local, modelcif.alignment.Pairwise):  # type: ignore[misc]
    """A template aligned to one chain."""


class _Reference(modelcif.reference.TemplateReference):  # type: ignore[misc]
    """file of a structure."""


def aligned_templates(
    chains: Iterable[tuple[modelcif.AsymUnit, str, Sequence[Hit]]],
    entity_of: Callable[[str, str], modelcif.Entity],
    plain: Callable[[str], str],
) -> Iterator[tuple[modelcif.Template, modelcif.alignment.AlignmentMode]]:
    """Yield each template of each chain, with its alignment.

    Args:
        chains: Each chain, its sequence, and its templates with their structures. A template whose
            pairs are not in the order of both sequences has no alignment and is left out.
        entity_of: Returns the entity of a sequence and a title.
        plain: Returns a text as the file can hold it.
    """
    still = modelcif.Transformation.identity()
    for unit, sequence, hits in chains:
        for hit in hits:
            pairs = hit.pairs[np.argsort(hit.pairs[:, 0], kind="stable")]
            if not len(pairs) or (np.diff(pairs, axis=0) < 1).any():
                continue
            structure = hit.known_structure()
            title = plain(f"Template {hit.name}")
            entry, _, chain = hit.name.rpartition("_")
            kind = modelcif.reference.PDB if _PDB.fullmatch(entry) else _Reference
            template = modelcif.Template(
                entity_of(structure.sequence, title),
                asym_id=plain(chain),
                model_num=1,
                transformation=still,
                name=title,
                references=[kind(plain(entry), _date(hit.release_date))],
            )
            here, there = _gapped(sequence, structure.sequence, pairs)
            (first, start), (last, end) = (pairs[0] + 1).tolist(), (pairs[-1] + 1).tolist()
            codes = encode_sequence(sequence)[pairs[:, 0]]
            identity = float((codes == structure.aatype[pairs[:, 1]]).mean())
            pair = modelcif.alignment.Pair(
                template.segment(there, start, end),
                unit.segment(here, first, last),
                identity=modelcif.alignment.AlignedResiduePairsIdentity(round(100 * identity, 1)),
            )
            yield template, _Alignment(plain(f"Alignment of {hit.name}"), [pair])


def _date(text: str | None) -> date | None:
    """Return a date; None if it is unknown or impossible."""
    with suppress(ValueError):
        return date.fromisoformat(text or "")
    return None


def _gapped(target: str, template: str, pairs: np.ndarray) -> tuple[str, str]:
    """Return both sequences from the first to the last aligned residue, with gaps."""
    ours, theirs = [target[pairs[0, 0]]], [template[pairs[0, 1]]]
    for before, (here, there) in zip(pairs[:-1].tolist(), pairs[1:].tolist(), strict=True):
        skipped, left = target[before[0] + 1 : here], template[before[1] + 1 : there]
        ours += [skipped, _GAP * len(left), target[here]]
        theirs += [_GAP * len(skipped), left, template[there]]
    return "".join(ours), "".join(theirs)
