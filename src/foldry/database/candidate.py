"""A deposit, checked: what the tables will say about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import Any, Final

import numpy as np

from foldry.database import ids
from foldry.database.entry import Deposit, Facts, composition
from foldry.database.read import FACT_COLUMNS
from foldry.errors import InputError, quoted
from foldry.formats.afdb import BANDS
from foldry.formats.model_record import ModelChain, ModelRecord
from foldry.store.hashes import content_key, sha256

_MAX_NUMBER: Final = 999_999
_MAX_TEXT: Final = 20_000
_MAX_TAX_ID: Final = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What the tables say about a deposit.

    Attributes:
        identity: Hash of what makes an entry: sequences, accession, fragment, tool, provider.
        entry_id: The id that it should have, or "" for a counted one.
        entry: The columns of the entry that do not depend on other rows.
        chains: The sequences and their chains.
        version: The columns of the version that do not depend on other rows.
        number: Number of the version, or None for the next one.
        digests: Hashes of the canonical records, best first.
        alignments: Hashes of the alignments.
        letters_3di: 3Di letters of each sequence.
        is_numbered: Whether another number would be wrong; otherwise, if it is taken, the version
            becomes the next one.
    """

    identity: str
    entry_id: str
    entry: Mapping[str, Any]
    chains: tuple[ModelChain, ...]
    version: Mapping[str, Any]
    number: int | None
    digests: tuple[str, ...] = ()
    alignments: tuple[str, ...] = ()
    letters_3di: tuple[str, ...] = ()
    is_numbered: bool = True

    @property
    def content_key(self) -> str:
        """Identity of the prediction."""
        return str(self.version["content_key"])


@dataclass(frozen=True)
class Contents:
    """The objects of a candidate.

    Attributes:
        models: Canonical records, best first.
        alignments: The alignment of each sequence.
        original: The imported file, or None.
    """

    models: tuple[bytes, ...] = ()
    alignments: tuple[bytes, ...] = ()
    original: bytes | None = None

    @cached_property
    def named(self) -> list[tuple[str, bytes]]:
        """All objects, each with its hash."""
        last = [] if self.original is None else [self.original]
        return [(sha256(data), data) for data in (*self.models, *self.alignments, *last)]


def with_digests(each: Candidate, contents: Contents) -> Candidate:
    """Return a candidate with the hashes of its objects."""
    digests = iter([digest for digest, _ in contents.named])
    models = tuple(islice(digests, len(contents.models)))
    alignments = tuple(islice(digests, len(contents.alignments)))
    version = {**each.version, "original": next(digests, "")}
    return replace(each, digests=models, alignments=alignments, version=version)


def candidate(deposit: Deposit, provider: str) -> Candidate:
    """Return what the tables will say about a deposit, without its objects.

    Args:
        deposit: The deposit.
        provider: The provider of the database.

    Raises:
        InputError: The accession, the id, the version, a sequence or pLDDT is not valid.
    """
    record = deposit.model.record
    accession, fragment, entry_id = _names(deposit)
    provider, tool = _text(deposit.provider or provider), _text(deposit.tool)
    parts = sorted(composition(record.chains).items())
    number = deposit.version
    if number is not None and not 1 <= number <= _MAX_NUMBER:
        raise InputError(f"{quoted(number)} is not a number of a version", "count from 1")
    return Candidate(
        identity=content_key([parts, str(accession or ""), fragment, tool, provider]),
        entry_id=entry_id,
        entry={
            "accession": accession.base if accession else "",
            "isoform": accession.isoform if accession else 0,
            "fragment": fragment,
            "name": ids.local_name(deposit.name),
            "provider": provider,
            "tool": tool,
            "visibility": "public",
            "withdrawn": "",
            "withdrawn_on": "",
            "num_chains": sum(len(chain.ids) for chain in record.chains),
            "num_residues": len(record.plddt),
            **fact_columns(deposit.facts),
        },
        chains=tuple(replace(each, description=_text(each.description)) for each in record.chains),
        version=_version_columns(deposit, record),
        number=number,
    )


def _names(deposit: Deposit) -> tuple[ids.Accession | None, int, str]:
    """Return the accession, the fragment and the id of a deposit, "" for a counted id.

    The name of a single chain may give the accession.
    """
    accession = ids.accession(deposit.accession) if deposit.accession else None
    fragment = ids.check_fragment(deposit.fragment)
    if deposit.entry_id is None:
        [*chains] = (name for chain in deposit.model.record.chains for name in chain.ids)
        named = ids.named_accession(deposit.name) if len(chains) == 1 else None
        if accession is None and named is not None:
            accession, fragment = named
        return accession, fragment, accession.entry_id(fragment) if accession else ""
    if ids.counted_parts(deposit.entry_id):
        return accession, fragment, deposit.entry_id.upper()
    named = ids.model_parts(deposit.entry_id)
    if named is None:
        what = f"{quoted(deposit.entry_id)} is not an id of an entry"
        raise InputError(what, "give one like AF-P00520-F1, or none")
    if accession and (accession, fragment) != named:
        what = f"{quoted(deposit.entry_id)} is not the id of {accession}, fragment {fragment}"
        raise InputError(what, "give the id or the accession")
    return *named, deposit.entry_id.upper()


def _version_columns(deposit: Deposit, record: ModelRecord) -> dict[str, Any]:
    mean, fractions = confidence_columns(record)
    tool = deposit.tool.lower().replace(" ", "")
    known = {
        name.lower().replace(" ", ""): each for name, each in record.prediction.versions.items()
    }
    scores = {name: float(value) for name, value in record.scores.items()}
    return {
        "content_key": _text(deposit.content_key),
        "created": in_utc(record.created),
        "model_name": _text(record.model_name),
        "tool_version": _text(known.get(tool, "")),
        "mean_plddt": mean,
        "fractions": fractions,
        "scores": {name: value for name, value in scores.items() if math.isfinite(value)},
        "has_pae": deposit.model.pae is not None,
        "original": "",
    }


def confidence_columns(record: ModelRecord) -> tuple[float, list[float]]:
    """Return the mean pLDDT, and the shares of residues below 50, 70, 90 and above.

    Raises:
        InputError: There is no residue, or a number that is not pLDDT.
    """
    num_residues = sum(len(chain.ids) * len(chain.sequence) for chain in record.chains)
    plddt = np.round(np.asarray(record.plddt, float), 2)  # as the record keeps it
    if num_residues == 0 or plddt.shape != (num_residues,):
        what = f"has {num_residues} residues and {plddt.size} values of pLDDT"
        raise InputError(what, "give one value per residue", where=quoted(record.entry_id))
    if not ((plddt >= 0) & (plddt <= 100)).all():
        what, advice = "has pLDDT outside 0 to 100", "give pLDDT, not another measure"
        raise InputError(what, advice, where=quoted(record.entry_id))
    bands = np.searchsorted(BANDS.starts, plddt, side="right")
    shares = np.bincount(bands, minlength=len(BANDS.letters)) / num_residues
    return float(plddt.mean()), shares.tolist()


def fact_columns(facts: Facts) -> dict[str, Any]:
    """Return the columns of an entry that hold facts.

    Raises:
        InputError: The taxonomy number is out of range.
    """
    if facts.tax_id is not None and not 0 < facts.tax_id <= _MAX_TAX_ID:
        raise InputError(f"{quoted(facts.tax_id)} is not a taxonomy number", "leave it out")
    values = dict(vars(facts))
    columns = {name: values.pop(name) for name in FACT_COLUMNS}
    return {
        **{name: _text(each) if isinstance(each, str) else each for name, each in columns.items()},
        "facts": {name: [_text(text) for text in each] for name, each in values.items() if each},
    }


def in_utc(time: str) -> str:
    """Return a time of ISO 8601 in UTC, of which texts are in order; "" if it is not a time."""
    try:
        found = datetime.fromisoformat(time)
    except ValueError:
        return ""
    return as_text(found if found.tzinfo else found.replace(tzinfo=UTC))


def as_text(time: datetime) -> str:
    """Return a time in ISO 8601, UTC."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _text(text: str) -> str:
    """Return a text that every database can keep: valid Unicode without NUL, of bounded length."""
    return text[:_MAX_TEXT].replace("\0", "").encode("utf-8", "replace").decode()
