"""Pack all that a training run needs into a few files of bounded size, and unpack them.

A bundle is a folder with `manifest.json` and the parts of one zip archive of NumPy arrays, tables
and weights. Coordinates are rounded to 0.02 Å, and alignments keep only their most diverse rows.
The parts can be transferred one by one; unpacked, they are a folder of packs for
`foldry.dataset.packs`.

The layout differs from the packs because size matters here and access to single chains does
not. Each property of all chains is one array, which LZMA compresses far better than many short
ones; atoms are differences between bonded atoms on the 0.02 Å grid, masks are stored as differences
from those of complete residues, and alignments by row, where neighbouring letters repeat. The whole
archive is then cut into parts, each with a hash, so that a damaged part is found and sent again
without the others. The manifest is written last and removed first: a bundle with a manifest is
complete.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from foldry.dataset import packs
from foldry.dataset.diverse import diverse_rows
from foldry.errors import FoldryError, InputError, counted, reason
from foldry.formats.compact import decode_atoms, encode_atoms, unpack_mask
from foldry.formats.npz import check_array
from foldry.residues import ATOM37_MASK
from foldry.store.files import (
    check_folder,
    decode,
    make_folder,
    new_file,
    new_folder,
    read_bytes,
    remove,
    write_bytes,
    write_json,
)
from foldry.store.files import names as names_in
from foldry.store.hashes import sha256
from foldry.store.locks import hold, hold_file
from foldry.weights.state_file import load

MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "start.safetensors"
MAX_UNPACKED: Final = 16 * 1024**3
"""Maximum size of a bundle, unpacked, in bytes."""
STEP: Final = 0.02
"""Å to which a bundle's coordinates are rounded."""
_MAX_MANIFEST: Final = 16 * 1024**2
_FORMAT: Final = 2
_UNFINISHED: Final = re.compile(r"part-\d+\.bin")
"""Names of the files of a bundle without a manifest."""
_SPLIT: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Part:
    """One file of a bundle."""

    name: str
    size: int
    sha256: str


def pack(
    folder: Path, out: Path, weights: Path, max_part_size: int = 40, max_rows: int = 48
) -> list[Part]:
    """Write a folder of packs as a bundle.

    Args:
        folder: The packs, see `foldry.dataset.packs`.
        out: The bundle's folder.
        weights: Weights to start training from.
        max_part_size: Maximum size of a part, MiB.
        max_rows: Maximum number of rows of an alignment, the chain included.

    Returns:
        The parts.

    Raises:
        BusyError: Another process writes a bundle there.
        InputError: The packs or the weights are damaged, a split has a name that `unpack` would
            refuse, the data exceed `MAX_UNPACKED`, or `out` contains other files.
    """
    load(weights)  # damaged weights are refused here, not on the other machine
    splits = sorted({path.stem for path in (folder / "splits").glob("*.tsv")} - {packs.CLUSTERS})
    strange = [split for split in splits if not _SPLIT.fullmatch(split)]
    if not splits:
        where = folder / "splits"
        raise InputError("contains no table", "give the folder of packs", where=where)
    if strange:
        where = folder / "splits" / f"{strange[0]}.tsv"
        advice = "rename the split with letters, digits, - and _"
        raise InputError("cannot be packed", advice, where=where)
    check_folder(out)
    there = names_in(out)
    if MANIFEST not in there and not all(map(_UNFINISHED.fullmatch, there)):
        raise InputError(
            "contains files that are not of a bundle", "give another folder", where=out
        )
    with hold(out):
        data = _pack(folder, splits, weights, max_rows)
        return write_parts(data, out, max_part_size, splits=splits)


def _pack(folder: Path, splits: Sequence[str], weights: Path, max_rows: int) -> bytes:
    """Return the archive of a folder of packs."""
    library = packs.Library(folder, splits)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for split, hits in zip(splits, library.templates.shards, strict=True):
            table = packs.read_table(folder / "splits" / f"{split}.tsv", "id")
            names = [row["id"] for row in table]
            _add(archive, f"structures/{split}", _structures(library, names))
            _add(archive, f"msas/{split}", _alignments(library, names, max_rows))
            _add(archive, f"templates/{split}", hits)
        for split in (*splits, packs.CLUSTERS):
            name = f"splits/{split}.tsv"
            archive.writestr(_member(name), (folder / name).read_bytes())
        archive.writestr(_member(WEIGHTS), weights.read_bytes())
        _check_size(_unpacked(archive), folder)
    return file.getvalue()


def unpack(bundle: Path, out: Path) -> None:
    """Write a bundle's packs, tables and weights (`start.safetensors`) into a folder.

    The folder has a temporary name until it is complete.

    Raises:
        InputError: A part is missing or damaged, or `out` is not empty.
        BusyError: Another process unpacks a bundle there.
    """
    if out.exists() and any(out.iterdir()):
        raise InputError("is not empty", "give another folder", where=out)
    check_folder(out)
    data, notes = read_parts(bundle)
    splits = notes.get("splits")
    known = isinstance(splits, list) and all(_SPLIT.fullmatch(str(name)) for name in splits)
    if not known or not splits:
        raise InputError("lists no splits", "pack the bundle again", where=bundle / MANIFEST)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, hold_file(out), new_folder(out) as new:
            _check_size(_unpacked(archive), bundle, len(data))
            _unpack(archive, splits, new)
    except (FoldryError, OSError, MemoryError):
        raise
    except Exception as error:  # zipfile, LZMA and NumPy raise many errors for damaged bytes
        what = f"is not a readable bundle ({reason(error)})"
        raise InputError(what, "pack it again", where=bundle) from error


def _unpack(archive: zipfile.ZipFile, splits: list[str], out: Path) -> None:
    for split in splits:
        for kind in ("structures", "msas", "templates"):  # one at a time in memory
            arrays = _take(archive, f"{kind}/{split}")
            if kind == "structures":
                arrays = packs.structure_arrays(_chains(arrays))
            elif kind == "msas":
                arrays = _by_column(arrays)
            packs.write_pack(out / kind / f"{kind}-{split}.npz", arrays)
    make_folder(out / "splits")
    for name in (*(f"splits/{table}.tsv" for table in (*splits, packs.CLUSTERS)), WEIGHTS):
        with archive.open(_checked(archive, name)) as packed, new_file(out / name) as file:
            shutil.copyfileobj(packed, file)


def write_parts(data: bytes, out: Path, max_part_size: int, **notes: object) -> list[Part]:
    """Write bytes as files of at most `max_part_size` MiB, and a manifest with hashes and notes.

    An old manifest is removed first and the new one is written last, so that a bundle with a
    manifest is complete.

    Returns:
        The parts.
    """
    size = max_part_size * 1024**2
    make_folder(out)
    for old in (out / MANIFEST, *out.glob("part-*.bin")):
        remove(old)
    parts = []
    for number, start in enumerate(range(0, len(data), size)):
        piece = data[start : start + size]
        name = f"part-{number}.bin"
        write_bytes(out / name, piece)
        parts.append(Part(name, len(piece), sha256(piece)))
    manifest = {"format": _FORMAT, "parts": [asdict(part) for part in parts], **notes}
    write_json(out / MANIFEST, manifest, sync=True)
    return parts


def read_manifest(bundle: Path) -> tuple[list[Part], dict[str, Any]]:
    """Return the parts that a bundle's manifest lists, and the whole manifest.

    Raises:
        InputError: The manifest is missing or damaged, or of another version of Foldry.
    """
    path = bundle / MANIFEST
    if not bundle.exists():
        raise InputError("does not exist", "give the folder of the bundle", where=bundle)
    text = decode(read_bytes(path, _MAX_MANIFEST), str(path))
    try:
        manifest = json.loads(text)
        parts = [Part(**part) for part in manifest["parts"]]
        known = manifest["format"] == _FORMAT
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        what = f"is not a readable manifest ({reason(error)})"
        raise InputError(what, "transfer it again", where=path) from error
    if not known:
        raise InputError("is of another version of Foldry", "pack the bundle again", where=path)
    if [part.name for part in parts] != [f"part-{number}.bin" for number in range(len(parts))]:
        raise InputError("does not list the expected parts", "transfer it again", where=path)
    return parts, manifest


def read_parts(bundle: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes given to `write_parts`, and the manifest with the notes.

    Raises:
        InputError: A part is missing or damaged, or the parts exceed `MAX_UNPACKED`.
    """
    parts, manifest = read_manifest(bundle)
    data, total = [], 0
    for part in parts:
        file = bundle / part.name
        if not file.is_file():
            what = f"is missing (the manifest lists {counted(len(parts), 'part')})"
            raise InputError(what, "transfer it too", where=file)
        size = file.stat().st_size
        total += size
        _check_size(total, bundle)
        piece = file.read_bytes() if size == part.size else b""
        if size != part.size or sha256(piece) != part.sha256:
            raise InputError("is not the part that was packed", "transfer it again", where=file)
        data.append(piece)
    return b"".join(data), manifest


def _structures(library: packs.Library, names: list[str]) -> dict[str, np.ndarray]:
    chains = [library.chain(name) for name in names]
    aatype, mask = packs.joined(chains, "aatype"), packs.joined(chains, "mask") > 0
    try:
        atoms = encode_atoms(packs.joined(chains, "positions"), mask, STEP)
    except ValueError as error:
        raise InputError(f"The packs are damaged ({error})", "make them again") from error
    return {
        "ids": np.array(names),
        "lengths": np.array([len(chain) for chain in chains], np.int32),
        "resolution": np.array([chain.resolution for chain in chains], np.float32),
        "plddt": packs.joined(chains, "plddt").astype(np.uint8),
        "aatype": aatype.astype(np.uint8),
        "residue_step": np.diff(packs.joined(chains, "residue_index"), prepend=0).astype(np.int32),
        # Most residues have all atoms of their type, so the difference is nearly all zero.
        "mask": np.packbits(mask ^ (ATOM37_MASK[aatype] > 0), axis=1),
        **atoms,
    }


def _chains(arrays: dict[str, np.ndarray]) -> dict[str, packs.KnownChain]:
    aatype = arrays["aatype"].astype(np.int64)
    mask = unpack_mask(arrays["mask"]) ^ (ATOM37_MASK[aatype] > 0)
    whole = packs.KnownChain(
        aatype=aatype,
        residue_index=np.cumsum(arrays["residue_step"]),
        positions=decode_atoms(arrays, mask).astype(np.float32),
        mask=mask.astype(np.float32),
        resolution=0.0,
        plddt=arrays["plddt"].astype(np.float32),
    )
    offsets = np.cumsum([0, *arrays["lengths"]])
    ids, resolutions = arrays["ids"].tolist(), arrays["resolution"].tolist()
    return {
        name: replace(whole.window(slice(*ends)), resolution=resolution)
        for name, ends, resolution in zip(ids, pairwise(offsets), resolutions, strict=True)
    }


def _alignments(library: packs.Library, names: list[str], max_rows: int) -> dict[str, np.ndarray]:
    """Return the arrays of a pack, with the codes row by row, which compress better."""
    kept = {}
    for name in names:
        msa, deletions = library.alignment(name)
        rows = diverse_rows(msa, max_rows)
        kept[name] = msa[rows], deletions[rows]
    by_row = np.concatenate([msa.ravel() for msa, _ in kept.values()])
    return packs.alignment_arrays(kept) | {"residues": by_row}


def _by_column(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    cells = np.split(arrays["residues"], arrays["cell_offsets"][1:-1])
    shapes = zip(arrays["depth"], arrays["length"], strict=True)
    columns = [codes.reshape(shape).T.ravel() for codes, shape in zip(cells, shapes, strict=True)]
    return arrays | {"residues": np.concatenate(columns)}


def _add(archive: zipfile.ZipFile, place: str, arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        with archive.open(_member(f"{place}/{name}.npy"), "w") as file:
            np.lib.format.write_array(file, array, allow_pickle=False)


def _member(name: str) -> zipfile.ZipInfo:
    """Return an entry of the archive without a date, so that equal data give equal bundles."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_LZMA
    return info


def _unpacked(archive: zipfile.ZipFile) -> int:
    return sum(info.file_size for info in archive.infolist())


def _check_size(size: int, source: Path, packed: int = MAX_UNPACKED) -> None:
    most = packs.max_unpacked(packed, MAX_UNPACKED)
    if size > most:
        what = f"contains more than {most / 2**30:.3g} GiB"
        raise InputError(what, "take fewer chains", where=source)


def _take(archive: zipfile.ZipFile, place: str) -> dict[str, np.ndarray]:
    """Return all arrays of a folder of the archive, by name."""
    taken = {}
    for name in archive.namelist():
        if name.startswith(f"{place}/"):
            member = _checked(archive, name)
            check_array(archive, member)
            with archive.open(member) as file:
                taken[Path(name).stem] = np.lib.format.read_array(file, allow_pickle=False)
    return taken


def _checked(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_LZMA:
        raise ValueError(f"{name} is not compressed as expected")
    return info
