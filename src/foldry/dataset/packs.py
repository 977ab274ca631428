"""Chains with their alignments and template hits, in packs of NumPy arrays.

A folder of packs holds `structures/structures-*.npz`, and for each split `msas/msas-<split>.npz`,
`templates/templates-<split>.npz` and `splits/<split>.tsv`. Packs contain no code; NumPy alone reads
them. Packs stay in memory as they are on disk, and a chain is unpacked when it is requested.

The records of all chains follow each other in a few long arrays, and arrays of offsets say where
each record begins. Thousands of chains compress better this way, and a chain is read by slicing.
Nothing in a file is trusted: `_check` compares the names, types and lengths of the arrays when a
pack is read, so that no slice leaves its array and no record is larger than the file itself. The
content of a record, such as its residue codes, is checked when the chain is unpacked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, UInt8

from foldry.errors import InputError, counted, printable, quoted, reason
from foldry.formats.cigar import cigar_of, pairs_of
from foldry.formats.compact import decode_atoms, encode_atoms, join_planes, unpack_mask
from foldry.formats.lines import lines, read_bounded_text
from foldry.formats.npz import read_arrays, write_arrays
from foldry.query import Hit
from foldry.residues import CA, GAP, RESTYPES_WITH_X, UNKNOWN
from foldry.store.files import make_folder, new_file, write_text

CLUSTERS: Final = "clusters30_joint"
"""Name of the table of clusters, in the folder of the splits' tables."""
MAX_IDENTITY: Final = 0.9
"""Hits of at least this identity are copies of the chain and are left out."""
LAYOUT: Final = "compact-1"
"""Name of the way a pack stores its atoms; packs of the first layout contain no name."""
STEP: Final = 0.001
"""Å to which a pack's atoms are rounded."""
MAX_PACK: Final = 16 * 1024**3
"""Maximum size of a pack, uncompressed, in bytes."""
MAX_RATIO: Final = 100
"""Maximum ratio of uncompressed to compressed size; prepared data reach 10."""
FREE_SIZE: Final = 256 * 1024**2
"""Bytes up to which the ratio does not matter."""

_STRUCTURES: Final = {
    "ids": "U C", "offsets": "iu C+1", "atom_offsets": "iu C+1", "aatype": "u R",
    "residue_index": "iu R", "atom_mask": "u R 5", "resolution": "f C", "method?": "U C",
    "plddt?": "uif R",
}  # fmt: skip
_COMPACT: Final = {"layout": "U", "step": "f", "anchors": "i P 3 R", "others": "i Q 3 A"}
_FIRST: Final = {"ca_delta": "i R 3", "atom_coords_low": "u A 3", "atom_coords_high": "iu A 3"}
_ALIGNMENTS: Final = {
    "ids": "U C", "length": "iu C", "depth": "iu C", "cell_offsets": "iu C+1",
    "insert_offsets": "iu C+1", "residues": "u M", "insert_gap": "u I", "insert_count": "u I",
}  # fmt: skip
_HITS: Final = {
    "ids": "U C", "hit_offsets": "iu C+1", "target_ids": "U T", "target": "iu H", "identity": "f H",
    "query_start": "iu H", "target_start": "iu H", "cigar": "u L", "cigar_offsets": "iu H+1",
}  # fmt: skip
"""Arrays of each kind of pack: the kinds of their types and their axes. C chains, R residues,
A atoms, M cells and I insertions of alignments, H hits, T targets; `?` marks optional arrays."""
_OFFSETS: Final = {
    "offsets": "R", "atom_offsets": "A", "cell_offsets": "M", "insert_offsets": "I",
    "hit_offsets": "H", "cigar_offsets": "L",
}  # fmt: skip
"""The axis that each array of offsets divides."""


@dataclass(frozen=True)
class KnownChain:
    """The observed residues of one chain, or a crop of them.

    Attributes:
        aatype: Amino-acid codes; 20 is X.
        residue_index: Residue numbers; they rise by 1 along a peptide bond and by more across a
            gap.
        positions: Atom coordinates, Å; 0 where `mask` is 0.
        mask: 1 where the atom is known.
        resolution: Resolution in Å; 0 for NMR, NaN if unknown.
        plddt: pLDDT of a predicted structure, 0 to 100; 100 for an experimental structure.
    """

    aatype: Int[np.ndarray, " N"]
    residue_index: Int[np.ndarray, " N"]
    positions: Float[np.ndarray, "N 37 3"]
    mask: Float[np.ndarray, "N 37"]
    resolution: float
    plddt: Float[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.aatype)

    @property
    def sequence(self) -> str:
        """The sequence in one-letter codes."""
        return "".join(RESTYPES_WITH_X[code] for code in self.aatype)

    def window(self, window: Int[np.ndarray, " C"] | slice) -> KnownChain:
        """Return the chain with these residues only."""
        arrays = {name: array for name, array in vars(self).items() if name != "resolution"}
        return replace(self, **{name: array[window] for name, array in arrays.items()})

    def confident(self, min_plddt: float) -> KnownChain:
        """Return the chain without the atoms of residues below a pLDDT."""
        kept = self.mask * (self.plddt >= min_plddt)[:, None]
        return replace(self, positions=self.positions * (kept > 0)[..., None], mask=kept)


class Pack:
    """Pack files of one kind; each id occurs in one of them.

    Args:
        paths: The files.

    Attributes:
        shards: The arrays of each file, by name.
        place: The file and the row of each id.

    Raises:
        InputError: A file is missing or damaged.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.shards = [_read(path) for path in paths]
        self.place = {
            str(name): (shard, row)
            for shard, arrays in enumerate(self.shards)
            for row, name in enumerate(arrays["ids"])
        }

    def find(self, name: str) -> tuple[dict[str, np.ndarray], int]:
        """Return the arrays that contain an id, and its row in them."""
        shard, row = self.place[name]
        return self.shards[shard], row


class Library:
    """Chains with their alignments and template hits; every chain may serve as a template.

    All methods raise InputError if the chain is missing or damaged.

    Args:
        folder: The folder of packs.
        splits: Splits whose alignments and template hits are read.

    Raises:
        InputError: A pack is missing or damaged.
    """

    def __init__(self, folder: Path, splits: Sequence[str]) -> None:
        paths = sorted((folder / "structures").glob("structures-*.npz"))
        if not folder.is_dir():
            raise InputError("does not exist", "give the folder of the packs", where=folder)
        if not paths:
            what = "holds no structures/structures-*.npz"
            raise InputError(what, "give the folder of the packs", where=folder)
        self.structures = Pack(paths)
        self.alignments = Pack([folder / "msas" / f"msas-{split}.npz" for split in splits])
        self.templates = Pack([folder / "templates" / f"templates-{split}.npz" for split in splits])

    def chain(self, name: str) -> KnownChain:
        """Return a chain with its atoms."""
        with _reading(name):
            chain = read_chain(*self.structures.find(name))
            _check_codes(chain.aatype, UNKNOWN)
            return chain

    def best_plddt(self, name: str) -> float:
        """Return the highest pLDDT of a chain's residues; 0 if the chain is missing."""
        if name not in self.structures.place:
            return 0.0
        arrays, row = self.structures.find(name)
        residues = slice(*arrays["offsets"][row : row + 2])
        return float(arrays["plddt"][residues].max(initial=0)) if "plddt" in arrays else 100.0

    def resolution(self, name: str) -> float:
        """Return a chain's resolution in Å; 0 for NMR, NaN if unknown or the chain is missing."""
        if name not in self.structures.place:
            return float("nan")
        return _resolution(*self.structures.find(name))

    def alignment(self, name: str) -> tuple[UInt8[np.ndarray, "M N"], Float[np.ndarray, "M N"]]:
        """Return the alignment's codes (21 is a gap), the chain first, and its deletions."""
        with _reading(name):
            msa, deletions = read_alignment(*self.alignments.find(name))
            _check_codes(msa, GAP)
            return msa, deletions

    def hits(self, name: str) -> list[Hit]:
        """Return a chain's template hits without near copies of the chain, best E-value first."""
        hits = []
        with _reading(name):
            arrays, row = self.templates.find(name)
            structures, place = self.structures.find(name)
            size = int(np.diff(structures["offsets"][place : place + 2])[0])
            for number in range(*arrays["hit_offsets"][row : row + 2]):
                identity = float(arrays["identity"][number])
                target = str(arrays["target_ids"][arrays["target"][number]])
                if identity < MAX_IDENTITY and target != name:
                    cigar = arrays["cigar"][slice(*arrays["cigar_offsets"][number : number + 2])]
                    here, there = arrays["query_start"][number], arrays["target_start"][number]
                    pairs = pairs_of(cigar.tobytes().decode(), int(here), int(there), size)
                    hits.append(Hit(target, pairs, identity=identity))
        return hits

    def lay_hit(self, name: str, hit: Hit) -> KnownChain:
        """Return a template hit's atoms on the residues of its query; gaps have code 21."""
        query, template = self.chain(name), self.chain(hit.name)
        laid = replace(
            query,
            aatype=np.full(len(query), GAP),
            positions=np.zeros_like(query.positions),
            mask=np.zeros_like(query.mask),
            resolution=template.resolution,
            plddt=np.zeros(len(query), np.float32),
        )
        with _reading(name):
            here, there = hit.pairs.T
            for array in ("aatype", "positions", "mask", "plddt"):
                getattr(laid, array)[here] = getattr(template, array)[there]
        return laid


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn errors in reading records into one that names the chain."""
    try:
        yield
    except (LookupError, ValueError, OverflowError) as error:
        what = f"{printable(name)} is missing or damaged ({reason(error)})"
        raise InputError(what, "make its pack again") from error


def _check_codes(codes: Integer[np.ndarray, "*M N"], last: int) -> None:
    if not codes.size or codes.max() > last:
        raise ValueError("a residue has an unknown code")


def read_chain(arrays: Mapping[str, np.ndarray], row: int) -> KnownChain:
    """Return a row of a pack of structures.

    Raises:
        ValueError: Its atoms are damaged or in another layout.
    """
    residues = slice(*arrays["offsets"][row : row + 2])
    others = slice(*arrays["atom_offsets"][row : row + 2])
    mask = unpack_mask(arrays["atom_mask"][residues])
    plddt = arrays["plddt"][residues] if "plddt" in arrays else np.full(len(mask), 100)
    return KnownChain(
        aatype=arrays["aatype"][residues].astype(np.int64),
        residue_index=arrays["residue_index"][residues].astype(np.int64),
        positions=_positions(arrays, mask, residues, others),
        mask=mask.astype(np.float32),
        resolution=_resolution(arrays, row),
        plddt=plddt.astype(np.float32),
    )


def _resolution(arrays: Mapping[str, np.ndarray], row: int) -> float:
    resolution = float(arrays["resolution"][row])
    nmr = "method" in arrays and "NMR" in str(arrays["method"][row]).upper()
    return 0.0 if nmr and np.isnan(resolution) else resolution


def _positions(
    arrays: Mapping[str, np.ndarray], mask: Bool[np.ndarray, "N 37"], residues: slice, others: slice
) -> Float[np.ndarray, "N 37 3"]:
    if "layout" in arrays:
        if str(arrays["layout"]) != LAYOUT:
            raise ValueError("written by another version of Foldry")
        anchors, atoms = arrays["anchors"][..., residues], arrays["others"][..., others]
        planes = {"step": arrays["step"], "anchors": anchors, "others": atoms}
        return decode_atoms(planes, mask).astype(np.float32)
    # The first layout: steps between Cα atoms in 0.001 Å; the other atoms from Cα in 0.005 Å, in
    # two bytes.
    ca = (np.cumsum(arrays["ca_delta"][residues], axis=0) * 0.001).astype(np.float32)
    high, low = arrays["atom_coords_high"][others], arrays["atom_coords_low"][others]
    beside_ca = mask.copy()
    beside_ca[:, CA] = False
    positions = np.zeros((*mask.shape, 3), np.float32)
    from_ca = ((high.astype(np.int16) << 8) | low.astype(np.int16)) * np.float32(0.005)
    positions[beside_ca] = from_ca + ca[np.nonzero(beside_ca)[0]]
    positions[:, CA] = ca
    return positions


def read_alignment(
    arrays: Mapping[str, np.ndarray], row: int
) -> tuple[UInt8[np.ndarray, "M N"], Float[np.ndarray, "M N"]]:
    """Return a row of a pack of alignments: codes (21 is a gap), the chain first, and deletions.

    Raises:
        LookupError, ValueError: The row is damaged.
    """
    depth, length = int(arrays["depth"][row]), int(arrays["length"][row])
    cells = slice(*arrays["cell_offsets"][row : row + 2])
    inserts = slice(*arrays["insert_offsets"][row : row + 2])
    # Codes are stored by column, and places of insertions as steps. Each row has one place more
    # than residues, for what follows the last one.
    if depth < 1 or length < 1:
        raise ValueError("the alignment is empty")
    msa = arrays["residues"][cells].reshape(length, depth).T
    deletions = np.zeros(depth * (length + 1), np.float32)
    places = np.cumsum(arrays["insert_gap"][inserts].astype(np.int64))
    deletions[places] = arrays["insert_count"][inserts]
    return msa, deletions.reshape(depth, length + 1)[:, :length]


def structure_arrays(chains: Mapping[str, KnownChain]) -> dict[str, np.ndarray]:
    """Return a pack of structures.

    The atoms of each chain are encoded separately, so that one chain is read without the others.

    Args:
        chains: Chains by id.
    """
    each = list(chains.values())
    masks = [chain.mask > 0 for chain in each]
    atoms = [
        encode_atoms(chain.positions, mask, STEP) for chain, mask in zip(each, masks, strict=True)
    ]
    return {
        "layout": np.array(LAYOUT),
        "ids": np.array(list(chains)),
        "offsets": _offsets(map(len, each)),
        "atom_offsets": _offsets(planes["others"].shape[2] for planes in atoms),
        "aatype": joined(each, "aatype").astype(np.uint8),
        "residue_index": joined(each, "residue_index").astype(np.int32),
        "atom_mask": np.packbits(np.concatenate(masks), axis=1),
        "step": np.array(STEP),
        "anchors": join_planes([planes["anchors"] for planes in atoms]),
        "others": join_planes([planes["others"] for planes in atoms]),
        "plddt": joined(each, "plddt").astype(np.uint8),
        "resolution": np.array([chain.resolution for chain in each], np.float32),
    }


def joined(chains: Iterable[KnownChain], name: str) -> np.ndarray:
    """Return one array of all chains, end to end."""
    return np.concatenate([getattr(chain, name) for chain in chains])


def alignment_arrays(
    alignments: Mapping[str, tuple[Integer[np.ndarray, "M N"], Float[np.ndarray, "M N"]]],
) -> dict[str, np.ndarray]:
    """Return a pack of alignments.

    Args:
        alignments: Codes, the chain first, and deletions, by id.
    """
    gaps, counts = [], []
    for _, deletions in alignments.values():
        inserted = np.pad(deletions, ((0, 0), (0, 1))).ravel()
        places = np.flatnonzero(inserted)
        gaps.append(np.diff(places, prepend=0))
        counts.append(np.minimum(inserted[places], np.iinfo(np.uint16).max))
    codes = [msa for msa, _ in alignments.values()]
    return {
        "ids": np.array(list(alignments)),
        "length": np.array([msa.shape[1] for msa in codes], np.int32),
        "depth": np.array([msa.shape[0] for msa in codes], np.int32),
        "cell_offsets": _offsets(msa.size for msa in codes),
        "insert_offsets": _offsets(len(places) for places in gaps),
        "residues": np.concatenate([msa.T.ravel() for msa in codes]).astype(np.uint8),
        "insert_gap": np.concatenate(gaps).astype(np.uint32),
        "insert_count": np.concatenate(counts).astype(np.uint16),
    }


def hit_arrays(hits: Mapping[str, Sequence[Hit]]) -> dict[str, np.ndarray]:
    """Return a pack of template hits.

    Args:
        hits: Hits by id, the best first.
    """
    each = [hit for of_chain in hits.values() for hit in of_chain]
    targets = sorted({hit.name for hit in each})
    place = {name: number for number, name in enumerate(targets)}
    cigars = [cigar_of(hit.pairs) for hit in each]
    return {
        "ids": np.array(list(hits)),
        "hit_offsets": _offsets(map(len, hits.values())),
        "target_ids": np.array(targets, "U"),
        "target": np.array([place[hit.name] for hit in each], np.int32),
        "identity": np.array([hit.identity for hit in each], np.float32),
        "query_start": np.array([hit.pairs[0, 0] for hit in each], np.int32),
        "target_start": np.array([hit.pairs[0, 1] for hit in each], np.int32),
        "cigar": np.frombuffer("".join(cigars).encode(), np.uint8),
        "cigar_offsets": _offsets(map(len, cigars)),
    }


def write_pack(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed pack, under a temporary name first."""
    make_folder(path.parent)
    with new_file(path) as file:
        write_arrays(file, arrays)


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a tab-separated file whose header is the first row's keys."""
    make_folder(path.parent)
    texts = ((printable(str(value)) for value in row.values()) for row in rows)
    lines = ["\t".join(rows[0]), *map("\t".join, texts)]
    write_text(path, "\n".join(lines) + "\n")


def read_table(path: Path, *columns: str) -> list[dict[str, str]]:
    """Return the rows of a tab-separated file with a header line.

    Args:
        path: The file.
        columns: Columns that the table needs.

    Raises:
        InputError: The file cannot be read, a column is missing, or a row is longer or shorter
            than the header.
    """
    rows = lines(read_bounded_text(path).rstrip("\n"), str(path))
    names = next(rows, (1, ""))[1].split("\t")
    missing = [name for name in columns if name not in names]
    if missing:
        raise InputError(f"has no column {missing[0]!r}", "add it", where=path)
    table = []
    for number, row in rows:
        cells = row.split("\t")
        if len(cells) != len(names):
            what = f"has {counted(len(cells), 'cell')} where the header has {len(names)}"
            raise InputError(what, "fix the line", where=f"{path}, line {number}")
        table.append(dict(zip(names, cells, strict=True)))
    return table


def read_lengths(path: Path) -> dict[str, int]:
    """Return the lengths of a split's chains by id, without those marked `near`.

    Raises:
        InputError: The table is damaged.
    """
    lengths = {}
    for number, row in enumerate(read_table(path, "id", "length"), 2):
        if not re.fullmatch(r"\d{1,9}", row["length"]):
            what = f"has the length {quoted(row['length'])}"
            raise InputError(what, "give a number of residues", where=f"{path}, line {number}")
        if not row.get("near"):
            lengths[row["id"]] = int(row["length"])
    return lengths


def check_clusters(clusters: Mapping[str, str], names: Collection[str], table: Path) -> None:
    """Check that a table of clusters contains all chains.

    Raises:
        InputError: A chain is missing.
    """
    missing = sorted(name for name in names if name not in clusters)
    if missing:
        what = f"has no cluster for {counted(len(missing), 'chain')}, e.g. {quoted(missing[0])}"
        raise InputError(what, "add them", where=table)


def _offsets(sizes: Iterable[int]) -> Int[np.ndarray, " C1"]:
    return np.cumsum([0, *sizes])


def max_unpacked(packed: int, most: int) -> int:
    """Return the maximum bytes of arrays that a compressed file may contain.

    Args:
        packed: Size of the file in bytes.
        most: Maximum for any file.
    """
    return min(most, max(FREE_SIZE, MAX_RATIO * packed))


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        size = path.stat().st_size
        arrays = read_arrays(path, max_unpacked(size, MAX_PACK))
        _check(arrays)
    except (OSError, ValueError) as error:
        what = f"is not a readable pack ({reason(error)})"
        raise InputError(what, "replace it", where=path) from error
    return arrays


def _check(arrays: Mapping[str, np.ndarray]) -> None:
    """Check that a pack's arrays have the types and lengths that its reader relies on.

    Raises:
        ValueError: An array is missing, or has another type or length.
    """
    known = _ALIGNMENTS if "cell_offsets" in arrays else _HITS
    if "atom_offsets" in arrays:
        known = _STRUCTURES | (_COMPACT if "layout" in arrays else _FIRST)
    sizes: dict[str, int] = {}
    for name, text in known.items():
        array = arrays.get(name.rstrip("?"))
        if array is None:
            if name.endswith("?"):
                continue
            raise ValueError(f"it has no array {name}")
        kinds, *axes = text.split()
        if array.dtype.kind not in kinds or array.ndim != len(axes):
            raise ValueError(f"the array {name} has another type or another number of axes")
        if kinds == "U" and not _is_text(array):
            raise ValueError(f"the array {name} is not text")
        for axis, size in zip(axes, array.shape, strict=True):
            letter, _, more = axis.partition("+")
            found = size - int(more or 0)
            if found != (int(axis) if axis.isdigit() else sizes.setdefault(letter, found)):
                raise ValueError(f"the array {name} has another length than the others")
    _check_values(arrays, sizes)


def _is_text(array: np.ndarray) -> bool:
    """Return whether an array contains valid Unicode code points only."""
    codes = array.astype(array.dtype.newbyteorder("=")).tobytes()
    return int(np.frombuffer(codes, np.uint32).max(initial=0)) <= sys.maxunicode


def _check_values(arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> None:
    """Check that offsets span their arrays and that template hits are within their bounds."""
    for name in _OFFSETS.keys() & arrays.keys():
        ends = arrays[name]
        if ends[0] != 0 or ends[-1] != sizes[_OFFSETS[name]]:
            raise ValueError(f"{name} do not span their array")
        if (ends[1:] < ends[:-1]).any():
            raise ValueError(f"{name} do not ascend")
    for name in {"target", "query_start", "target_start"} & arrays.keys():
        if (arrays[name] < 0).any():
            raise ValueError("a template hit begins before its chain")
    if "target" in arrays and (arrays["target"] >= sizes["T"]).any():
        raise ValueError("a template hit has no name")
