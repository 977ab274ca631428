"""What a file of a predicted model says: its atoms, confidence, sequences and history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Num

from foldry.measures import Measure
from foldry.query import Hit
from foldry.store.hashes import Content
from foldry.structure import Structure


@dataclass(frozen=True)
class ChainMetric:
    """A quality measure of all chains or of all pairs of chains.

    Attributes:
        measure: The measure, which has a `kind`.
        values: [C] for chains, or [C, C] for pairs, where the row is the aligned chain; NaN is left
            out.
    """

    measure: Measure
    values: Num[np.ndarray, " C *other"]


@dataclass(frozen=True)
class Step:
    """One step that made or changed a model.

    Attributes:
        versions: Versions of the software, at least one.
        parameters: Settings and outcome: names and plain values, which may be nested.
    """

    versions: Mapping[str, str]
    parameters: Mapping[str, object]


@dataclass(frozen=True)
class Reference:
    """The entry of UniProt from which a chain's sequence comes.

    Attributes:
        accession: UniProt accession without an isoform, e.g. `P00520`.
        code: Name of the entry, e.g. `ABL1_MOUSE`, or "".
        isoform: Isoform, e.g. `P00520-4`, or "".
        start, end: First and last residue in UniProt's sequence, counted from 1; `end` 0 if
            unknown.
        gene: Name of the gene, or "".
        organism: Scientific name, or "".
        tax_id: NCBI's taxonomy number, or None.
        checksum: CRC64 of UniProt's sequence, or "".
        version_date: Date of UniProt's sequence, `YYYY-MM-DD`, or "".
    """

    accession: str
    code: str = ""
    isoform: str = ""
    start: int = 1
    end: int = 0
    gene: str = ""
    organism: str = ""
    tax_id: int | None = None
    checksum: str = ""
    version_date: str = ""


@dataclass(frozen=True)
class ModelChain:
    """One or more chains of equal sequence.

    Attributes:
        ids: Names of the chains, in the order of the structure's rows.
        sequence: One-letter codes; X for anything but the 20 amino acids.
        description: Name of the protein, or "".
        reference: Where the sequence comes from, or None.
    """

    ids: tuple[str, ...]
    sequence: str
    description: str = ""
    reference: Reference | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelRecord(Content):
    """The content of a ModelCIF file.

    Attributes:
        entry_id: Name of the data block, e.g. `AF-P00520-F1` or the name of the query.
        title: Title of the entry.
        authors: Authors of the prediction.
        structure: All residues of all chains, copies of a chain together; `b_factor` holds pLDDT,
            `residue_number` the numbers of `auth_seq_id`.
        chains: The sequences, in the order of the structure.
        plddt: pLDDT of each residue, 0–100.
        scores: Measures of the whole model by key of `foldry.measures`, e.g. `ptm`; the mean pLDDT
            is computed.
        of_chains: Measures of the chains of a complex, in the order of the structure.
        secondary_structure: One letter of DSSP per residue (`HBEGITSP` or `-`), or "" if unknown.
        model_name: Name of the network, e.g. `model_1_ptm`.
        created: Time of the prediction in ISO 8601, UTC, or "".
        version: Version of the entry, counted from 1; None outside a database.
        notice: A warning to every reader, or "".
        licence: Licence of the model, e.g. `CC BY 4.0`; "" if it is not stated.
        prediction: Versions of the software, and how the model was predicted.
        relaxation: How the atoms were relaxed; None if they are the output of the network.
        inputs: One sentence about the input of the network, or "".
        templates: The templates that the network read, by chain.
    """

    entry_id: str
    title: str
    authors: tuple[str, ...] = ()
    structure: Structure
    chains: tuple[ModelChain, ...]
    plddt: Float[np.ndarray, " N"]
    scores: Mapping[str, float] = field(default_factory=dict)
    of_chains: Sequence[ChainMetric] = ()
    secondary_structure: str = ""
    model_name: str
    created: str = ""
    version: int | None = None
    notice: str = ""
    licence: str = ""
    prediction: Step
    relaxation: Step | None = None
    inputs: str = ""
    templates: Mapping[str, Sequence[Hit]] = field(default_factory=dict)
