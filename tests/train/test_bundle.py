"""A bundle unpacks to what was packed, and a damaged one is refused."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from foldry.dataset.diverse import diverse_rows
from foldry.dataset.packs import CLUSTERS, Library
from foldry.errors import InputError
from foldry.model.alphafold import AlphaFold
from foldry.residues import GAP
from foldry.train.bundle import MANIFEST, WEIGHTS, pack, read_parts, unpack, write_parts
from foldry.weights.state_file import save
from tests.conftest import ROOT
from tests.test_architecture import ON_A_BARE_GPU_MACHINE
from tests.train.synthetic import World, write_world
from tests.train.tiny import tiny_config

MAX_ROWS = 12


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = write_world(tmp_path_factory.mktemp("packs"))
    path = world.folder / "structures" / "structures-01.npz"
    arrays = dict(np.load(path))
    arrays["plddt"] = (np.arange(len(arrays["aatype"])) % 101).astype(np.uint8)
    np.savez(path, **arrays)
    return world


@pytest.fixture(scope="module")
def bundle(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle")
    weights = out.with_name("weights")
    save(weights, AlphaFold(tiny_config()).state_dict(), tiny_config(), {})
    pack(world.folder, out, weights, max_rows=MAX_ROWS)
    return out


@pytest.fixture(scope="module")
def unpacked(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unpacked")
    unpack(bundle, out)
    return out


def test_chains_hits_and_tables_come_back(world: World, bundle: Path, unpacked: Path) -> None:
    before, after = Library(world.folder, ["train"]), Library(unpacked, ["train"])
    assert list(after.structures.place) == list(before.structures.place)
    for name in world.lengths:
        one, other = before.chain(name), after.chain(name)
        assert np.array_equal(one.aatype, other.aatype)
        assert np.array_equal(one.residue_index, other.residue_index)
        assert np.array_equal(one.mask, other.mask)
        assert np.isnan(other.resolution)
        assert np.array_equal(one.plddt, other.plddt)
        # Half the bundle's step; the points of its grid are also on the packs' finer grid.
        assert np.abs(one.positions - other.positions).max() < 0.0101
        assert before.hits(name) == after.hits(name)
    for table in ("train", CLUSTERS):
        path = Path("splits") / f"{table}.tsv"
        assert (unpacked / path).read_bytes() == (world.folder / path).read_bytes()
    assert (unpacked / WEIGHTS).read_bytes() == bundle.with_name("weights").read_bytes()


def test_alignments_keep_their_most_diverse_rows(world: World, unpacked: Path) -> None:
    library = Library(unpacked, ["train"])
    for name, msa in world.msa.items():
        rows = diverse_rows(msa, MAX_ROWS)
        kept, deletions = library.alignment(name)
        assert len(kept) == min(len(msa), MAX_ROWS)
        assert np.array_equal(kept, msa[rows])
        assert np.array_equal(deletions, world.deletions[name][rows])


def test_the_rows_that_differ_most_are_kept() -> None:
    query = np.zeros((1, 10), int)
    near, far, middle = (np.where(np.arange(10) < share, 1, 0)[None] for share in (1, 9, 5))
    empty = np.full((1, 10), GAP)
    msa = np.concatenate([query, near, near, far, middle])
    assert diverse_rows(msa, 9).tolist() == [0, 1, 2, 3, 4]
    assert diverse_rows(msa, 1).tolist() == [0]
    assert diverse_rows(msa, 2).tolist() == [0, 3]
    assert diverse_rows(msa, 3).tolist() == [0, 3, 4]
    # Columns with an amino acid in only one row are not compared: half a copy is still a copy.
    half = np.where(np.arange(10) < 5, GAP, 0)[None]
    assert diverse_rows(np.concatenate([query, half, near]), 2).tolist() == [0, 2]
    assert len(diverse_rows(np.concatenate([query, empty, empty]), 2)) == 2


def test_the_same_packs_give_the_same_bundle(world: World, bundle: Path, tmp_path: Path) -> None:
    again = pack(world.folder, tmp_path / "again", bundle.with_name("weights"), max_rows=MAX_ROWS)
    assert [part.sha256 for part in again] == [
        part["sha256"] for part in json.loads((bundle / MANIFEST).read_text())["parts"]
    ]


def test_parts_are_bounded_and_checked(tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes(5 * 2**19)
    parts = write_parts(data, tmp_path, 1)
    assert [part.size for part in parts] == [2**20, 2**20, 2**19]
    assert [(tmp_path / part.name).stat().st_size for part in parts] == [2**20, 2**20, 2**19]
    assert read_parts(tmp_path)[0] == data
    changed = tmp_path / "part-1.bin"
    whole = changed.read_bytes()
    for other in (whole[:-1] + b"?", whole + b"?"):
        changed.write_bytes(other)
        with pytest.raises(InputError, match=r"part-1\.bin is not the part"):
            read_parts(tmp_path)
    changed.unlink()
    with pytest.raises(InputError, match=r"part-1\.bin is missing .the manifest lists 3 parts"):
        read_parts(tmp_path)
    assert len(write_parts(data[:5], tmp_path, 1)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, "part-0.bin"]


def test_sizes_are_checked_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parts(bytes(2**20 + 1), tmp_path, 1)
    read: list[Path] = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or b"")
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest["parts"][0]["size"] += 1
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"part-0\.bin is not the part"):
        read_parts(tmp_path)
    monkeypatch.setattr("foldry.train.bundle.MAX_UNPACKED", 2**20 - 1)
    with pytest.raises(InputError, match="contains more than"):
        read_parts(tmp_path)
    assert not read


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", "readable manifest"),
        ("[]", "readable manifest"),
        ('{"format": 2, "parts": [{"name": "a"}]}', "readable manifest"),
        (
            '{"format": 2, "parts": [{"name": "../part-0.bin", "size": 1, "sha256": ""}]}',
            "the expected parts",
        ),
        ('{"format": 2}', "readable manifest"),
        ('{"format": 1, "parts": []}', "another version"),
        ("[" * 100_000, "readable manifest"),
        ('{"format": 2, "parts": []}', "lists no splits"),
        ('{"format": 2, "parts": [], "splits": []}', "lists no splits"),
        ('{"format": 2, "parts": [], "splits": ["../../x"]}', "lists no splits"),
        ('{"format": 2, "parts": [], "splits": ["train"]}', "not a readable bundle"),
    ],
)
def test_a_strange_manifest_is_refused(manifest: str, message: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(InputError, match=message):
        unpack(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json does not exist: check the path"):
        unpack(tmp_path, tmp_path / "out")


def test_a_small_bundle_does_not_take_much_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldry.dataset.packs.FREE_SIZE", 2**20)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("msas/train/residues.npy", bytes(2**20 + 1))
    write_parts(file.getvalue(), tmp_path / "bundle", 1, splits=["train"])
    with pytest.raises(InputError, match=r"contains more than 0\.000977 GiB"):
        unpack(tmp_path / "bundle", tmp_path / "out")


def test_files_that_are_not_weights_are_not_packed(world: World, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"the network")
    with pytest.raises(InputError, match="is not a weights file"):
        pack(world.folder, tmp_path / "bundle", tmp_path / "weights")
    assert not (tmp_path / "bundle").exists()


def test_data_that_could_not_be_unpacked_are_not_packed(
    world: World, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, out = bundle.with_name("weights"), tmp_path / "bundle"
    packs = tmp_path / "packs"
    (packs / "splits").mkdir(parents=True)
    with pytest.raises(InputError, match="contains no table"):
        pack(packs, out, weights)
    (packs / "splits" / "train.v2.tsv").touch()
    with pytest.raises(InputError, match=r"train\.v2\.tsv cannot be packed"):
        pack(packs, out, weights)
    assert not out.exists()
    most = len(read_parts(bundle)[0])
    monkeypatch.setattr("foldry.train.bundle.MAX_UNPACKED", most)
    with pytest.raises(InputError, match=r"^\S+ contains more than"):
        unpack(bundle, out)
    with pytest.raises(InputError, match=r"^\S+ contains more than"):
        pack(world.folder, out, weights, max_rows=1)
    assert not out.exists()


def header(text: str) -> bytes:
    return np.lib.format.magic(1, 0) + struct.pack("<H", len(text)) + text.encode()


def array(value: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 8)}\n"),
            "mask.npy' is not as long as its header says",
        ),
        (
            header("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,)}\n"),
            "mask.npy' is not as long as its header says",
        ),
        (header("{'descr': (\n"), "not a readable bundle"),
        (np.lib.format.magic(3, 0), "mask.npy' has an unknown version"),
        (b"", "not a readable bundle"),
        (array(np.zeros((3, 5))), "not a readable bundle"),  # of another type
    ],
)
def test_strange_arrays_are_refused(
    bundle: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    rewrite(bundle, tmp_path / "strange", {"structures/train/mask.npy": content})
    with pytest.raises(InputError, match=message):
        unpack(tmp_path / "strange", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["strange"]


def test_other_archives_are_refused(bundle: Path, tmp_path: Path) -> None:
    rewrite(bundle, tmp_path / "stored", {}, zipfile.ZIP_STORED)
    with pytest.raises(InputError, match="is not compressed as expected"):
        unpack(tmp_path / "stored", tmp_path / "out")
    data = bytearray(read_parts(bundle)[0])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        first = archive.infolist()[0]
    begin = first.header_offset + 30 + len(first.filename) + 9  # after LZMA's own header
    data[begin : begin + 8] = b"\xff" * 8
    write_parts(bytes(data), tmp_path / "torn", 40, splits=["train"])
    with pytest.raises(InputError, match="not a readable bundle"):
        unpack(tmp_path / "torn", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def rewrite(
    bundle: Path, out: Path, others: dict[str, bytes | None], packing: int = zipfile.ZIP_LZMA
) -> None:
    """Write the bundle with other contents of some files, or without these files."""
    kept = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(read_parts(bundle)[0])) as whole,
        zipfile.ZipFile(kept, "w", packing) as archive,
    ):
        for name in whole.namelist():
            content = others[name] if name in others else whole.read(name)
            if content is not None:
                archive.writestr(name, content)
    write_parts(kept.getvalue(), out, 40, splits=["train"])


def test_an_interrupted_unpack_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    rewrite(bundle, tmp_path / "less", {WEIGHTS: None})
    out, partial = tmp_path / "out", tmp_path / ".out.0123abcd.partial"
    with pytest.raises(InputError, match="not a readable bundle"):
        unpack(tmp_path / "less", out)
    assert not out.exists() and not partial.exists()
    partial.mkdir()  # as a kill leaves it
    (partial / "half").touch()
    unpack(bundle, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "msas", "splits", WEIGHTS, "structures", "templates"
    ]  # fmt: skip
    assert not partial.exists()


def test_nothing_is_overwritten(world: World, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="is not empty"):
        unpack(bundle, tmp_path)
    with pytest.raises(InputError, match="files that are not of a bundle"):
        pack(world.folder, tmp_path, bundle.with_name("weights"))


def test_an_unfinished_bundle_is_written_again(
    world: World, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(_: int) -> None:
        raise Killed

    out, weights = tmp_path / "bundle", bundle.with_name("weights")
    write_parts(b"an earlier bundle", out, 1)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "fsync", kill)
        pack(world.folder, out, weights, max_rows=MAX_ROWS)
    assert [path.name for path in out.iterdir()] == ["part-0.bin"]
    (out / f".{MANIFEST}.partial").touch()  # as a kill leaves it
    pack(world.folder, out, weights, max_rows=MAX_ROWS)
    assert read_parts(out)[0] == read_parts(bundle)[0]


def test_training_from_a_bundle_needs_no_other_package(bundle: Path, tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    names = [*project["dependencies"], *(name for extra in extras for name in extra)]
    packages = {name.split(">")[0].split("[")[0] for name in names} - ON_A_BARE_GPU_MACHINE
    assert {"gemmi", "typer", "rich"} <= packages
    program = (
        "import sys\n"
        f"for name in {sorted(packages)!r}: sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from foldry.train.bundle import unpack\n"
        "from foldry.train import loop\n"
        "from foldry.dataset.samples import TrainingSet\n"
        "from tests.train.tiny import tiny_config, tiny_stage\n"
        "bundle, out = map(Path, sys.argv[1:])\n"
        "unpack(bundle, out / 'data')\n"
        "data = TrainingSet(out / 'data')\n"
        "loop.train(tiny_config(), tiny_stage('fold', 1), data, loop.Run(out / 'run'))\n"
    )
    command = [sys.executable, "-c", program, str(bundle), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "ema.safetensors").is_file()
