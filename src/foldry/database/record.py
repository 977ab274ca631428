"""The canonical record of one model: everything that its files say, in few bytes.

Equal models give equal bytes, which therefore have one hash. The bytes are not compressed yet: the
object store compresses each section on its own (`foldry.store.sections`).

    about               JSON: names, sequences, scores, history, templates
    plddt               pLDDT in hundredths: differences, all low bytes and then all high bytes
    mask                atoms that a residue lacks, or has beyond those of its type
    anchors, others     coordinates in thousandths of Å (`foldry.database.atom_codec`)
    b_anchors, b_others B factors in hundredths, if they are not pLDDT
    pae, pae_fine       predicted aligned errors (`foldry.database.pae_codec`)

What follows from the sequences is not stored, only what deviates from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.database.atom_codec import decode_ca, decode_positions, encode_positions
from foldry.database.entry import StoredModel
from foldry.database.pae_codec import decode_pae, encode_pae
from foldry.errors import InputError, quoted, reason
from foldry.formats.compact import decode_atoms, encode_atoms
from foldry.formats.model_record import ChainMetric, ModelChain, ModelRecord, Reference, Step
from foldry.measures import MEASURES
from foldry.query import Hit
from foldry.residues import ATOM37, ATOM37_MASK, encode_sequence
from foldry.store.hashes import content_key, sha256
from foldry.store.sections import join_sections, split_sections
from foldry.structure import Structure

_T = TypeVar("_T")

MAX_RESIDUES: Final = 200_000
"""Maximum number of residues of a model."""
SECTIONS: Final = (
    *("about", "plddt", "mask", "anchors", "others"),
    *("b_anchors", "b_others", "pae", "pae_fine"),
)
"""The sections of a record in their order."""
_NUMBERS: Final = ("plddt", "mask", "anchors", "others")
_ERRORS: Final = ("pae", "pae_fine")
_FORMAT: Final = 1
_B_FACTOR_STEP: Final = 0.01
_MAX_PAE: Final = 100.0
_USUAL_ATOMS: Final = ATOM37_MASK.astype(bool)
_HIT_FIELDS: Final = (
    *("e_value", "probability", "identity"),
    *("coverage", "release_date", "how"),
)
_TEXTS: Final = (
    *("entry_id", "title", "secondary_structure", "model_name"),
    *("created", "notice", "licence", "inputs"),
)
"""Fields of `ModelRecord` that are text."""


def pae_decimals(is_complex: bool, exact: bool) -> int:
    """Return the decimals of PAE: none for one chain, 1 if exact, 2 for complexes.

    AlphaFold DB serves PAE as whole Å for one chain, and with two decimals for complexes.
    """
    return 2 if is_complex else int(exact)


def encode(model: StoredModel, *, exact_pae: bool = False) -> bytes:
    """Return the canonical record of a model.

    Coordinates are kept to 0.001 Å, pLDDT and B factors to 0.01, PAE as `pae_decimals` says.
    Templates keep their sequences and alignments, but not their atoms.

    Args:
        model: The model.
        exact_pae: Whether PAE of one chain is kept to 0.1 Å.

    Raises:
        InputError: Sequences, atoms, confidence and errors do not fit together, or a number is not
            finite or is out of range.
    """
    record = model.record
    try:
        about, sections = _about(record), _encode_residues(record)
        numbers = record.structure.residue_number
        if (codes := record.structure.insertion_code).any():
            about["insertion_code"] = codes.tolist()
        about["runs"] = _runs(numbers)
        if model.pae is not None:
            decimals = pae_decimals(len(_chain_ids(record.chains)) > 1, exact_pae)
            about["pae"] = [decimals, model.max_pae]
            points = _pae_points(model.pae, decimals, len(numbers))
            sections["pae"], sections["pae_fine"] = encode_pae(points)
        text = json.dumps(about, separators=(",", ":"), default=_plain).encode()
    except (ValueError, TypeError, RecursionError) as error:
        what = f"cannot be kept ({reason(error)})"
        raise InputError(what, "check the model", where=quoted(record.entry_id)) from error
    return join_sections([text, *(sections.get(name, b"") for name in SECTIONS[1:])])


def decode(data: bytes) -> StoredModel:
    """Return the model of a canonical record.

    Raises:
        ValueError: The bytes are not a record.
    """
    opened = OpenRecord(data)
    pae, max_pae = opened.errors()
    return StoredModel(record=opened.record(), pae=pae, max_pae=max_pae)


class OpenRecord:
    """A canonical record whose parts are decoded when they are asked for.

    Args:
        data: The bytes from `encode`.

    Raises:
        ValueError: They are not a record; so do the methods.
    """

    def __init__(self, data: bytes) -> None:
        sections = split_sections(data)
        if len(sections) != len(SECTIONS):
            raise ValueError("the record has other sections")
        self._sections = dict(zip(SECTIONS, sections, strict=True))
        try:
            about = json.loads(bytes(self._sections["about"]))
        except RecursionError:
            raise ValueError("the metadata are nested too deeply") from None
        if not isinstance(about, dict) or about.get("format") != _FORMAT:
            raise ValueError("the record has another format")
        self._about: dict[str, Any] = about

    @cached_property
    def chains(self) -> tuple[ModelChain, ...]:
        """The sequences and the names of their chains."""
        return _parsed(_chains, self._about)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the sequences, atoms and pLDDT, which every file of the model has."""
        letters = [[chain.sequence, len(chain.ids)] for chain in self.chains]
        numbers = [sha256(self._sections[name]) for name in _NUMBERS]
        return content_key([letters, numbers])

    def covers(self, other: OpenRecord) -> bool:
        """Return whether another record has the same model, and no errors or the same errors."""
        if self.fingerprint != other.fingerprint:
            return False
        return not other.has_pae or all(
            self._sections[name] == other._sections[name] for name in _ERRORS
        )

    @property
    def has_pae(self) -> bool:
        """Whether there are predicted aligned errors."""
        return "pae" in self._about

    @cached_property
    def _size(self) -> int:
        size = sum(len(chain.ids) * len(chain.sequence) for chain in self.chains)
        # Before any memory is taken for so many residues.
        if size > MAX_RESIDUES or len(self._sections["plddt"]) != 2 * size:
            raise ValueError("pLDDT does not match the sequences")
        return size

    def plddt(self) -> Float[np.ndarray, " N"]:
        """Return pLDDT of each residue, 0–100."""
        low, high = np.frombuffer(self._sections["plddt"], np.uint8).reshape(2, self._size)
        points = np.cumsum(low + (high.astype(np.uint16) << 8), dtype=np.uint16)
        return points / 100

    def errors(self) -> tuple[Float[np.ndarray, "N N"] | None, float | None]:
        """Return PAE (Å) and the largest error that the network can express; None without PAE."""
        if not self.has_pae:
            return None, None
        decimals, max_pae = _parsed(_pae_about, self._about)
        points = decode_pae(self._sections["pae"], self._sections["pae_fine"], self._size)
        return points / 10**decimals, max_pae

    def ca(self) -> Float[np.ndarray, "N 3"]:
        """Return the coordinates of Cα, Å, NaN if absent, in a tenth of the time of `record`."""
        mask = self._mask()
        return decode_ca(self._planes("anchors", 3, len(mask)), mask)

    def record(self) -> ModelRecord:
        """Return everything but PAE."""
        return self._whole

    @cached_property
    def _whole(self) -> ModelRecord:
        return _parsed(self._record, self._about)

    def _record(self, about: Mapping[str, Any]) -> ModelRecord:
        plddt = self.plddt()
        return ModelRecord(
            structure=self._structure(plddt),
            chains=self.chains,
            plddt=plddt,
            authors=tuple(map(_text, about["authors"])),
            scores={name: float(value) for name, value in about["scores"].items()},
            of_chains=[
                ChainMetric(MEASURES[name], np.array(values, float))
                for name, values in about["of_chains"]
            ],
            version=None if about["version"] is None else int(about["version"]),
            prediction=_step(about["prediction"]),
            relaxation=_step(about["relaxation"]) if about["relaxation"] else None,
            templates={name: list(map(_hit, hits)) for name, hits in about["templates"].items()},
            **{name: _text(about[name]) for name in _TEXTS},
        )

    def _structure(self, plddt: Float[np.ndarray, " N"]) -> Structure:
        aatype, size, mask = _codes(self.chains), self._size, self._mask()
        runs = [(int(first), int(count)) for first, count in self._about["runs"]]
        if sum(count for _, count in runs) != size or any(count < 1 for _, count in runs):
            raise ValueError("the numbers do not match the residues")
        numbers = [np.arange(first, first + count) for first, count in runs]
        codes = list(map(_text, self._about.get("insertion_code", ())))
        if len(codes) not in (0, size):
            raise ValueError("the insertion codes do not match the residues")
        if len(self._sections["b_anchors"]):
            b_factor = self._b_factor(mask)
        else:
            b_factor = np.where(mask, plddt[:, None], 0.0)
        return Structure(
            name=_text(self._about["name"]),
            aatype=aatype,
            residue_number=np.concatenate([np.zeros(0, np.int64), *numbers]),
            insertion_code=np.array(codes or np.full(size, "")),
            chain_id=_names(self.chains),
            atom_positions=self._positions(mask),
            atom_mask=mask,
            b_factor=b_factor,
        )

    def _mask(self) -> Bool[np.ndarray, "N 37"]:
        mask: np.ndarray = _USUAL_ATOMS[_codes(self.chains)].ravel()
        changed = np.frombuffer(self._sections["mask"], "<u4")
        if changed.size and changed.max() >= mask.size:
            raise ValueError("the mask has more atoms than the residues")
        mask[changed] ^= True
        return mask.reshape(self._size, len(ATOM37))

    def _positions(self, mask: Bool[np.ndarray, "N 37"]) -> Float[np.ndarray, "N 37 3"]:
        return decode_positions(self._atoms("", mask, 3), mask)

    def _b_factor(self, mask: Bool[np.ndarray, "N 37"]) -> Float[np.ndarray, "N 37"]:
        arrays = {"step": np.array(_B_FACTOR_STEP), **self._atoms("b_", mask, 1)}
        return np.round(decode_atoms(arrays, mask, 1)[..., 0], 2)

    def _atoms(
        self, kind: str, mask: Bool[np.ndarray, "N 37"], width: int
    ) -> dict[str, np.ndarray]:
        others = int(mask.sum() - mask.any(axis=1).sum())
        return {
            "anchors": self._planes(f"{kind}anchors", width, len(mask)),
            "others": self._planes(f"{kind}others", width, others),
        }

    def _planes(self, name: str, width: int, size: int) -> np.ndarray:
        data = np.frombuffer(self._sections[name], np.int8)
        if not size:
            return np.zeros((1, width, 0), np.int8)
        if len(data) % (width * size):
            raise ValueError(f"{name} do not match the residues")
        return data.reshape(-1, width, size)


def _about(record: ModelRecord) -> dict[str, Any]:
    """Return what is written as JSON."""
    return {
        "format": _FORMAT,
        "name": record.structure.name,
        "chains": [
            vars(chain) | {"reference": chain.reference and vars(chain.reference)}
            for chain in record.chains
        ],
        "authors": record.authors,
        "scores": dict(record.scores),
        "of_chains": [[each.measure.key, each.values] for each in record.of_chains],
        "version": record.version,
        "prediction": [dict(record.prediction.versions), dict(record.prediction.parameters)],
        "relaxation": [dict(record.relaxation.versions), dict(record.relaxation.parameters)]
        if record.relaxation
        else None,
        "templates": {
            name: [_hit_about(hit) for hit in hits] for name, hits in record.templates.items()
        },
        **{name: getattr(record, name) for name in _TEXTS},
    }


def _encode_residues(record: ModelRecord) -> dict[str, bytes]:
    """Return the sections of residues and atoms.

    Raises:
        ValueError: Parts of the record do not fit together.
    """
    structure, chains = record.structure, record.chains
    aatype = _codes(chains)
    if not np.array_equal(aatype, structure.aatype):
        raise ValueError("the residues do not match the sequences")
    if not np.array_equal(_names(chains), structure.chain_id):
        raise ValueError("the names of the chains do not match")
    if len(aatype) > MAX_RESIDUES:
        raise ValueError(f"there are more than {MAX_RESIDUES} residues")
    hundredths = np.rint(record.plddt * 100)
    if len(hundredths) != len(aatype) or not ((hundredths >= 0) & (hundredths <= 10_000)).all():
        raise ValueError("pLDDT is not one number from 0 to 100 per residue")
    differences = np.diff(hundredths.astype(np.uint16), prepend=np.uint16(0))
    mask = structure.atom_mask
    changed = np.flatnonzero(mask ^ _USUAL_ATOMS[aatype])
    positions = encode_positions(structure.atom_positions, mask)
    sections = {
        "plddt": (differences & 255).astype(np.uint8).tobytes()
        + (differences >> 8).astype(np.uint8).tobytes(),
        "mask": changed.astype("<u4").tobytes(),
        "anchors": positions["anchors"].tobytes(),
        "others": positions["others"].tobytes(),
    }
    b_hundredths = np.rint(structure.b_factor * 100)
    # Another rounding of the same number is no difference.
    if ((abs(b_hundredths - hundredths[:, None]) > 1) & mask).any():
        kept = encode_atoms(structure.b_factor[..., None], mask, _B_FACTOR_STEP)
        sections["b_anchors"] = kept["anchors"].tobytes()
        sections["b_others"] = kept["others"].tobytes()
    return sections


def _pae_points(pae: Float[np.ndarray, "N N"], decimals: int, size: int) -> Int[np.ndarray, "N N"]:
    if pae.shape != (size, size):
        raise ValueError(f"PAE of shape {pae.shape} does not match {size} residues")
    if size and not 0 <= pae.min() <= pae.max() <= _MAX_PAE:
        raise ValueError(f"PAE is not from 0 to {_MAX_PAE:.0f} Å")
    points: np.ndarray = np.rint(pae * 10.0**decimals).astype(np.int16)
    return points


def _runs(numbers: Int[np.ndarray, " N"]) -> list[tuple[int, int]]:
    """Return first number and length of each run of numbers that rise by 1."""
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 2) != 1)
    lengths = np.diff(starts, append=len(numbers))
    return list(zip(numbers[starts].tolist(), lengths.tolist(), strict=True))


def _chain_ids(chains: Sequence[ModelChain]) -> list[str]:
    return [name for chain in chains for name in chain.ids]


def _names(chains: Sequence[ModelChain]) -> np.ndarray:
    """Return the chain of each residue."""
    lengths = [len(chain.sequence) for chain in chains for _ in chain.ids]
    return np.repeat(np.array(_chain_ids(chains), str), lengths)


def _codes(chains: Sequence[ModelChain]) -> Int[np.ndarray, " N"]:
    """Return the type of each residue."""
    return encode_sequence("".join(chain.sequence * len(chain.ids) for chain in chains))


def _plain(value: object) -> object:
    """Return a NumPy value as JSON can write it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be kept")


def _hit_about(hit: Hit) -> dict[str, Any]:
    starts = np.flatnonzero((np.diff(hit.pairs, axis=0, prepend=-2) != 1).any(axis=1))
    lengths = np.diff(starts, append=len(hit.pairs))
    return {
        "name": hit.name,
        "runs": np.column_stack([hit.pairs[starts], lengths]),
        "sequence": hit.structure.sequence if hit.structure else None,
        **{name: getattr(hit, name) for name in _HIT_FIELDS},
    }


def _hit(about: Mapping[str, Any]) -> Hit:
    sequence = about["sequence"]
    size = len(_text(sequence)) if sequence is not None else MAX_RESIDUES
    runs = [(int(here), int(there), int(count)) for here, there, count in about["runs"]]
    if any(not 0 <= there <= there + count <= size or count < 0 for _, there, count in runs):
        raise ValueError("an alignment does not match its template")
    parts = [np.arange(count)[:, None] + (here, there) for here, there, count in runs]
    name = _text(about["name"])
    return Hit(
        name=name,
        pairs=np.concatenate([np.zeros((0, 2), np.int64), *parts]),
        structure=None if sequence is None else _without_atoms(name, sequence),
        **{each: about[each] for each in _HIT_FIELDS},
    )


def _without_atoms(name: str, sequence: str) -> Structure:
    size = len(sequence)
    return Structure(
        name=name,
        aatype=encode_sequence(sequence),
        residue_number=np.arange(1, size + 1),
        insertion_code=np.zeros(size, "U1"),
        chain_id=np.full(size, name.rpartition("_")[2]),
        atom_positions=np.zeros((size, len(ATOM37), 3)),
        atom_mask=np.zeros((size, len(ATOM37)), bool),
        b_factor=np.zeros((size, len(ATOM37))),
    )


def _parsed(parse: Callable[[Mapping[str, Any]], _T], about: Mapping[str, Any]) -> _T:
    """Return what a function makes of the metadata.

    Raises:
        ValueError: It expected something else.
    """
    try:
        return parse(about)
    except (LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"the metadata are damaged ({reason(error)})") from error


def _chains(about: Mapping[str, Any]) -> tuple[ModelChain, ...]:
    return tuple(
        ModelChain(
            ids=tuple(map(_text, chain["ids"])),
            sequence=_text(chain["sequence"]),
            description=_text(chain["description"]),
            reference=Reference(**chain["reference"]) if chain["reference"] else None,
        )
        for chain in about["chains"]
    )


def _pae_about(about: Mapping[str, Any]) -> tuple[int, float | None]:
    decimals, max_pae = about["pae"]
    if decimals not in (0, 1, 2):
        raise ValueError("PAE has other decimals")
    return decimals, None if max_pae is None else float(max_pae)


def _step(about: Sequence[Any]) -> Step:
    versions, parameters = about
    return Step({name: _text(version) for name, version in versions.items()}, dict(parameters))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{quoted(value)} is not text")
    return value
