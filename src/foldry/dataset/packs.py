"""Chains with their alignments and template hits, in packs of NumPy arrays.

A folder of packs holds `structures/structures-*.npz`, and for each split `msas/msas-<split>.npz`,
`templates/templates-<split>.npz` and `splits/<split>.tsv`. Packs hold no code and are read with
NumPy alone. Everything stays packed in memory; one chain is unpacked when it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, UInt8

from foldry.errors import InputError
from foldry.formats.compact import decode_atoms, encode_atoms, join_planes, unpack_mask
from foldry.formats.npz import read_arrays, write_arrays
from foldry.query import Hit
from foldry.residues import CA, GAP, RESTYPES_WITH_X, UNKNOWN
from foldry.store.files import make_folder, new_file, write_text

CLUSTERS: Final = "clusters30_joint"
"""The table of all chains' clusters, among those of the splits."""
MAX_IDENTITY: Final = 0.9
"""Hits of this identity or more are copies of the chain and left out."""
LAYOUT: Final = "compact-1"
"""How a pack keeps its atoms; packs of the first layout name none."""
STEP: Final = 0.001
"""Å to which a pack's atoms are rounded."""
MAX_PACK: Final = 16 * 1024**3
"""Most bytes of a pack, unpacked."""


@dataclass(frozen=True)
class KnownChain:
    """One chain of a pack, or a crop of it: its observed residues.

    Attributes:
        aatype: Codes, 20 for X.
        residue_index: One more along a peptide bond, a larger step where residues are missing.
        positions: Å; 0 where `mask` is 0.
        mask: 1 where the atom is known.
        resolution: Å; 0 for NMR, which has none, NaN where unknown.
        plddt: Of a predicted structure, 0 to 100; 100 for an experimental one.
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
        """One-letter codes."""
        return "".join(RESTYPES_WITH_X[code] for code in self.aatype)

    def window(self, window: Int[np.ndarray, " C"] | slice) -> KnownChain:
        """Some of the residues."""
        arrays = {name: array for name, array in vars(self).items() if name != "resolution"}
        return replace(self, **{name: array[window] for name, array in arrays.items()})

    def confident(self, min_plddt: float) -> KnownChain:
        """The same residues, but only the atoms of those that have so much pLDDT."""
        kept = self.mask * (self.plddt >= min_plddt)[:, None]
        return replace(self, positions=self.positions * (kept > 0)[..., None], mask=kept)


class Pack:
    """The arrays of some pack files of one kind; each id is in one of them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.shards = [_read(path) for path in paths]
        self.place = {
            str(name): (shard, row)
            for shard, arrays in enumerate(self.shards)
            for row, name in enumerate(arrays["ids"])
        }

    def find(self, name: str) -> tuple[dict[str, np.ndarray], int]:
        """The arrays that hold an id, and its row in them."""
        shard, row = self.place[name]
        return self.shards[shard], row


class Library:
    """All chains of some splits, with everything known of them; any chain can be a template.

    Args:
        folder: The folder of packs.
        splits: Splits whose alignments and template hits are read.

    Raises:
        InputError: A pack is missing or damaged; of all methods that a chain is.
    """

    def __init__(self, folder: Path, splits: Sequence[str]) -> None:
        paths = sorted((folder / "structures").glob("structures-*.npz"))
        if not paths:
            what = "holds no structures/structures-*.npz"
            raise InputError(what, "give the folder of the packs", where=folder)
        self.structures = Pack(paths)
        self.alignments = Pack([folder / "msas" / f"msas-{split}.npz" for split in splits])
        self.templates = Pack([folder / "templates" / f"templates-{split}.npz" for split in splits])

    def chain(self, name: str) -> KnownChain:
        """A chain's atoms."""
        with _reading(name):
            chain = read_chain(*self.structures.find(name))
            _check_codes(chain.aatype, UNKNOWN)
            return chain

    def best_plddt(self, name: str) -> float:
        """The highest pLDDT of a chain's residues; 0 where the chain is missing."""
        if name not in self.structures.place:
            return 0.0
        arrays, row = self.structures.find(name)
        residues = slice(*arrays["offsets"][row : row + 2])
        return float(arrays["plddt"][residues].max(initial=0)) if "plddt" in arrays else 100.0

    def alignment(self, name: str) -> tuple[UInt8[np.ndarray, "M N"], Float[np.ndarray, "M N"]]:
        """Codes of the alignment's rows (21 a gap), the chain first, and their deletions."""
        with _reading(name):
            msa, deletions = read_alignment(*self.alignments.find(name))
            _check_codes(msa, GAP)
            return msa, deletions

    def hits(self, name: str) -> list[Hit]:
        """A chain's template hits, best E-value first, without itself and near copies of it."""
        hits = []
        with _reading(name):
            arrays, row = self.templates.find(name)
            for number in range(*arrays["hit_offsets"][row : row + 2]):
                identity = float(arrays["identity"][number])
                target = str(arrays["target_ids"][arrays["target"][number]])
                if identity < MAX_IDENTITY and target != name:
                    cigar = arrays["cigar"][slice(*arrays["cigar_offsets"][number : number + 2])]
                    start = (int(arrays[f"{side}_start"][number]) for side in ("query", "target"))
                    pairs = pairs_of(cigar.tobytes().decode(), *start)
                    hits.append(Hit(target, pairs, identity=identity))
        return hits

    def lay_hit(self, name: str, hit: Hit) -> KnownChain:
        """A template hit's atoms on the residues of its query; code 21 where it has none."""
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
    """Names the chain where its records cannot be read."""
    try:
        yield
    except (LookupError, ValueError) as error:
        what = f"{name} is missing or damaged ({error})"
        raise InputError(what, "make its pack again") from error


def _check_codes(codes: Integer[np.ndarray, "*M N"], last: int) -> None:
    if not codes.size or codes.max() > last:
        raise ValueError("codes that are not residues")


def read_chain(arrays: Mapping[str, np.ndarray], row: int) -> KnownChain:
    """A row of a pack of structures."""
    residues = slice(*arrays["offsets"][row : row + 2])
    others = slice(*arrays["atom_offsets"][row : row + 2])
    mask = unpack_mask(arrays["atom_mask"][residues])
    resolution = float(arrays["resolution"][row])
    if np.isnan(resolution) and "method" in arrays and "NMR" in str(arrays["method"][row]).upper():
        resolution = 0.0
    plddt = arrays["plddt"][residues] if "plddt" in arrays else np.full(len(mask), 100)
    return KnownChain(
        aatype=arrays["aatype"][residues].astype(np.int64),
        residue_index=arrays["residue_index"][residues].astype(np.int64),
        positions=_positions(arrays, mask, residues, others),
        mask=mask.astype(np.float32),
        resolution=resolution,
        plddt=plddt.astype(np.float32),
    )


def _positions(
    arrays: Mapping[str, np.ndarray], mask: Bool[np.ndarray, "N 37"], residues: slice, others: slice
) -> Float[np.ndarray, "N 37 3"]:
    if "layout" in arrays:
        if str(arrays["layout"]) != LAYOUT:
            raise ValueError("of another version of Foldry")
        anchors, atoms = arrays["anchors"][..., residues], arrays["others"][..., others]
        planes = {"step": arrays["step"], "anchors": anchors, "others": atoms}
        return decode_atoms(planes, mask).astype(np.float32)
    # The first layout: Cα atoms as steps of 0.001 Å, the others as 0.005 Å from it in two bytes.
    ca = (np.cumsum(arrays["ca_delta"][residues], axis=0) * 0.001).astype(np.float32)
    high, low = arrays["atom_coords_high"][others], arrays["atom_coords_low"][others]
    beside_ca = mask.copy()
    beside_ca[:, CA] = False
    positions = np.zeros((*mask.shape, 3), np.float32)
    from_ca = ((high.astype(np.int16) << 8) | low) * np.float32(0.005)
    positions[beside_ca] = from_ca + ca[np.nonzero(beside_ca)[0]]
    positions[:, CA] = ca
    return positions


def read_alignment(
    arrays: Mapping[str, np.ndarray], row: int
) -> tuple[UInt8[np.ndarray, "M N"], Float[np.ndarray, "M N"]]:
    """A row of a pack of alignments: codes (21 a gap), the chain first, and deletions."""
    depth, length = int(arrays["depth"][row]), int(arrays["length"][row])
    cells = slice(*arrays["cell_offsets"][row : row + 2])
    inserts = slice(*arrays["insert_offsets"][row : row + 2])
    # Codes are stored by column; places of insertions as steps, with one place after the end.
    msa = arrays["residues"][cells].reshape(length, depth).T
    deletions = np.zeros(depth * (length + 1), np.float32)
    places = np.cumsum(arrays["insert_gap"][inserts].astype(np.int64))
    deletions[places] = arrays["insert_count"][inserts]
    return msa, deletions.reshape(depth, length + 1)[:, :length]


def structure_arrays(chains: Mapping[str, KnownChain]) -> dict[str, np.ndarray]:
    """A pack of structures, by id.

    Each chain's atoms are encoded by themselves, so that one is read without the others.
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
    """One array of some chains, end to end."""
    return np.concatenate([getattr(chain, name) for chain in chains])


def alignment_arrays(
    alignments: Mapping[str, tuple[Integer[np.ndarray, "M N"], Float[np.ndarray, "M N"]]],
) -> dict[str, np.ndarray]:
    """A pack of alignments: by id the codes, the chain first, and the deletions."""
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
    """A pack of template hits: by id, the best first."""
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


def pairs_of(cigar: str, query_start: int, target_start: int) -> Int[np.ndarray, "P 2"]:
    """Pairs of (query residue, target residue), from 0, of an alignment's runs.

    Args:
        cigar: Runs of M (both have a residue), I (the query alone), D (the target alone).
        query_start, target_start: The first residues, from 0.

    Raises:
        ValueError: No residues are aligned.
    """
    here, there = query_start, target_start
    pairs = []
    for count, kind in re.findall(r"(\d{1,6})([MID])", cigar):
        size = int(count)
        if kind == "M":
            pairs.append(np.stack([here + np.arange(size), there + np.arange(size)], axis=1))
        here, there = here + size * (kind != "D"), there + size * (kind != "I")
    return np.concatenate(pairs)


def cigar_of(pairs: Int[np.ndarray, "P 2"]) -> str:
    """The runs of an alignment that begins with its first pair; the inverse of `pairs_of`."""
    gaps = np.diff(pairs, axis=0) - 1
    ends = np.flatnonzero(gaps.any(axis=1))
    first, *runs = np.diff([0, *(ends + 1), len(pairs)])
    cigar = f"{first}M"
    for run, (query, target) in zip(runs, gaps[ends], strict=True):
        cigar += f"{query}I" * bool(query) + f"{target}D" * bool(target) + f"{run}M"
    return cigar


def write_pack(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a pack, compressed, under a temporary name first."""
    make_folder(path.parent)
    with new_file(path) as file:
        write_arrays(file, arrays)


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a tab-separated file whose header is the first row's keys."""
    make_folder(path.parent)
    lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a tab-separated file with a header line.

    Raises:
        InputError: The file cannot be read, or a row is longer or shorter than the header.
    """
    try:
        header, *rows = path.read_text("utf-8").rstrip("\n").split("\n")
        names = header.split("\t")
        return [dict(zip(names, row.split("\t"), strict=True)) for row in rows]
    except (OSError, ValueError) as error:
        what = f"is not a readable table ({error})"
        raise InputError(what, "fix or replace it", where=path) from error


def check_clusters(clusters: Mapping[str, str], names: Collection[str], table: Path) -> None:
    """Make sure that a table of clusters has all chains.

    Raises:
        InputError: It has not.
    """
    missing = sorted(name for name in names if name not in clusters)
    if missing:
        what = f"has no cluster for {len(missing)} chains, {missing[0]} among them"
        raise InputError(what, "add them", where=table)


def _offsets(sizes: Iterable[int]) -> Int[np.ndarray, " C1"]:
    return np.cumsum([0, *sizes])


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path, MAX_PACK)
    except ValueError as error:
        raise InputError(f"is not a readable pack ({error})", "replace it", where=path) from error
