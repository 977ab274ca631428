"""Entries and versions of a database, and what is published in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from foldry.formats.model_record import ModelChain, ModelRecord
from foldry.store.hashes import Content


def composition(chains: Iterable[ModelChain]) -> Counter[str]:
    """Return how many chains have each sequence."""
    counts = Counter[str]()
    for chain in chains:
        counts[chain.sequence] += len(chain.ids)
    return counts


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredModel(Content):
    """One model with its errors: the content of one canonical record.

    Attributes:
        record: Atoms, confidence, sequences and history.
        pae: Predicted aligned error in Å, row i aligned on residue i, or None.
        max_pae: Largest error that the network can express, Å, or None.
    """

    record: ModelRecord
    pae: Float[np.ndarray, "N N"] | None = None
    max_pae: float | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about the protein of an entry.

    Attributes:
        description: Name of the protein.
        uniprot_id: Name of UniProt's entry, e.g. `ABL1_MOUSE`.
        gene, gene_synonyms: Names of the gene.
        organism, organism_names: Scientific name; common names and synonyms.
        tax_id: NCBI's taxonomy number, or None.
        lineage: Taxonomic lineage, from the root.
        is_reviewed: Whether the entry is in Swiss-Prot; None if unknown.
        is_reference_proteome: Whether it belongs to a reference proteome; None if unknown.
        proteome: UniProt's id of the proteome, e.g. `UP000000589`, or "".
        sequence_version_date: Date of UniProt's sequence, `YYYY-MM-DD`, or "".
        full_names, short_names: Further names of the protein.
        keywords, functions, go, ec: UniProt's keywords and texts, GO terms, EC numbers.
    """

    description: str = ""
    uniprot_id: str = ""
    gene: str = ""
    gene_synonyms: tuple[str, ...] = ()
    organism: str = ""
    organism_names: tuple[str, ...] = ()
    tax_id: int | None = None
    lineage: tuple[str, ...] = ()
    is_reviewed: bool | None = None
    is_reference_proteome: bool | None = None
    proteome: str = ""
    sequence_version_date: str = ""
    full_names: tuple[str, ...] = ()
    short_names: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    go: tuple[str, ...] = ()
    ec: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Deposit(Content):
    """One prediction to publish: one version of one entry.

    Attributes:
        model: The best model.
        tool: Name of the program that predicted; another tool is another entry.
        name: Local name of the entry.
        content_key: Identity of the prediction: its seed, settings, weights and alignment.
        ensemble: The other models of the run, best first.
        accession: UniProt accession, perhaps with an isoform (`P00520-4`), or None.
        fragment: Number of the fragment of a long protein, counted from 1.
        entry_id: The id that an imported file came with, e.g. `AF-P00520-F1`, or None.
        version: The version that an imported file came with, or None for the next one.
        provider: Who made the prediction; None for the database's own provider.
        alignments: a3m of each sequence, in the order of `model.record.chains`; empty if not kept.
        facts: What is known about the protein.
        original: The imported file as it came, or None.
    """

    model: StoredModel
    tool: str
    name: str
    content_key: str
    ensemble: tuple[StoredModel, ...] = ()
    accession: str | None = None
    fragment: int = 1
    entry_id: str | None = None
    version: int | None = None
    provider: str | None = None
    alignments: tuple[bytes, ...] = ()
    facts: Facts = field(default_factory=Facts)
    original: bytes | None = None


@dataclass(frozen=True)
class Published:
    """Where a deposit is kept.

    Attributes:
        entry_id: Id of the entry.
        version: Number of the version.
        is_new: False if the same prediction was published before.
        withdrawn: Why the entry is withdrawn, so that a new version is not found either; or "".
    """

    entry_id: str
    version: int
    is_new: bool
    withdrawn: str = ""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of an entry.

    Attributes:
        number: Counted from 1, or as an imported file numbered it.
        content_key: Identity of the prediction.
        created: When it was predicted, ISO 8601 in UTC, or "".
        published: When it was published, ISO 8601 in UTC.
        state: Number of its publication among all changes of the database.
        model_name: Name of the network.
        tool_version: Version of the program, or "".
        mean_plddt: Mean over all residues, 0–100.
        fractions: Shares of residues with pLDDT below 50, 70, 90 and above.
        scores: Measures of the whole model by key of `foldry.measures`.
        has_pae: Whether the record has predicted aligned errors.
        digests: SHA-256 of the canonical record of each model, best first.
        alignments: SHA-256 of the alignment of each sequence; empty if none are kept.
        original: SHA-256 of the imported file, or "".
    """

    number: int
    content_key: str
    created: str
    published: str
    state: int
    model_name: str
    tool_version: str
    mean_plddt: float
    fractions: tuple[float, float, float, float]
    scores: Mapping[str, float]
    has_pae: bool
    digests: tuple[str, ...]
    alignments: tuple[str, ...] = ()
    original: str = ""

    @property
    def objects(self) -> tuple[str, ...]:
        """SHA-256 of all its objects."""
        return (*self.digests, *self.alignments, *filter(None, [self.original]))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One multiset of sequences, predicted by one tool for one provider.

    Attributes:
        key: Number of the entry in its database, counted from 1 and never used again.
        entry_id: `AF-P00520-F1`, `AF-P00520-4-F1` or `AF-` with 16 digits.
        accession: UniProt accession, perhaps with an isoform, or "".
        fragment: Number of the fragment, counted from 1.
        name: Local name.
        provider: Who made the predictions.
        tool: Name of the program.
        chains: The sequences and the names of their chains.
        facts: What is known about the protein.
        versions: All versions, the latest last.
        tags: Tags, sorted.
        withdrawn: Why the entry was withdrawn, or "".
        withdrawn_on: When, ISO 8601 in UTC, or "".
    """

    key: int
    entry_id: str
    accession: str
    fragment: int
    name: str
    provider: str
    tool: str
    chains: tuple[ModelChain, ...]
    facts: Facts
    versions: tuple[Version, ...]
    tags: tuple[str, ...] = ()
    withdrawn: str = ""
    withdrawn_on: str = ""

    @property
    def latest(self) -> Version:
        """The latest version."""
        return self.versions[-1]

    @property
    def is_complex(self) -> bool:
        """Whether the entry has more than one chain."""
        return sum(len(chain.ids) for chain in self.chains) > 1

    @property
    def num_residues(self) -> int:
        """The number of residues of all chains."""
        return sum(len(chain.ids) * len(chain.sequence) for chain in self.chains)
