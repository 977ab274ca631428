"""Files that are damaged or meant to do harm: one sentence each, and the rest is imported."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foldry.database.database import Database
from foldry.database.imports.run import Outcome, import_paths
from foldry.formats.coordinates import to_pdb
from foldry.formats.plain_mmcif import to_mmcif
from tests.database.imports import layouts
from tests.database.imports.layouts import monomer

GOOD = to_pdb(monomer(9).structure)
ESCAPES = "\x1b[2J<script>alert(1)</script>\u202e"


def problems(database: Database, *paths: Path) -> list[str]:
    """Import paths and return what was wrong; everything is said in one printable line."""
    found: list[Outcome] = list(import_paths(database, paths))
    for each in found:
        assert not (each.published and each.problem)
        assert all(text.isprintable() for text in (each.where, each.problem, *each.notes))
    return [each.problem for each in found if each.problem]


def pdb_with(old: str, new: str) -> bytes:
    """Return a PDB file in which a field of one atom is replaced."""
    line = next(line for line in GOOD.splitlines() if line.startswith("ATOM"))
    changed = line.replace(old, new, 1) if old else new
    return GOOD.replace(line, changed).encode()


LINE = next(line for line in GOOD.splitlines() if line.startswith("ATOM"))
CIF = to_mmcif(monomer(8).structure)
X = re.search(r"^ATOM .*$", CIF, re.MULTILINE)
FILES: dict[str, tuple[str, bytes, str]] = {
    "coordinate": ("x.pdb", pdb_with(LINE[30:38], "     nan"), "which is not a coordinate"),
    "infinite": ("x.pdb", pdb_with(LINE[30:38], "     inf"), "which is not a coordinate"),
    "b factor": ("x.pdb", pdb_with(LINE[60:66], "   nan"), "which is not a B factor"),
    "large": ("x.pdb", GOOD.replace(LINE[60:66], "950.00").encode(), "B factors"),
    "negative": ("x.pdb", GOOD.replace(LINE[60:66], "-50.00").encode(), "B factors"),
    "cif": ("x.cif", re.sub(r"(?m)^(ATOM .*) \d\S* (\S+ \S+)$", r"\1 nan \2", CIF).encode(), "nan"),
    "far": ("x.pdb", pdb_with(LINE[30:54], "99999.00   0.000   0.000"), "from the origin"),
    "twice": ("x.cif", b"data_x\nloop_\n_atom_site.id\n_atom_site.id\n1 2\n", "is a damaged"),
    "xxe": (
        "x.cif",
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "is an XML file",
    ),
    "empty": ("x.pdb", b"", "is empty"),
    "binary": ("x.cif", bytes(range(256)) * 9, "x.cif"),
    "text": ("x.cif", b"data_x\n_cell.a 1\n", "has no atoms"),
    "experiment": (
        "x.cif",
        b"data_x\n_exptl.method 'X-RAY DIFFRACTION'\n" + CIF.encode().partition(b"\n")[2],
        "no pLDDT",
    ),
    "gzip": ("x.cif.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\0garbage", "damaged gzip file"),
    "bcif": ("x.bcif", b"\x83\xaadataBlocks\xff", "is not a BinaryCIF file"),
}


def test_files_that_are_no_predictions(tmp_path: Path, sqlite_database: Database) -> None:
    for kind, (name, content, _) in FILES.items():
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).write_bytes(content)
    (tmp_path / "good.pdb").write_text(GOOD)
    found = problems(sqlite_database, tmp_path)
    for problem, (kind, (name, _, what)) in zip(found, sorted(FILES.items()), strict=True):
        assert what in problem
        assert problem.startswith(f"{tmp_path}/{kind}/{name}")
    assert [each.name for each in sqlite_database.entries()] == ["good"]


def pae_files() -> dict[str, bytes]:
    size = len(monomer().plddt)
    whole = np.ones((size, size))
    broken = whole.tolist()
    broken[3][4] = float("nan")
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return {
        "size": json.dumps([{"predicted_aligned_error": whole[1:, 1:].tolist()}]).encode(),
        "not square": json.dumps([{"predicted_aligned_error": whole[1:].tolist()}]).encode(),
        "nan": json.dumps([{"predicted_aligned_error": broken}]).encode(),
        "large": json.dumps([{"predicted_aligned_error": (1e30 * whole).tolist()}]).encode(),
        "negative": json.dumps([{"predicted_aligned_error": (-whole).tolist()}]).encode(),
        "nothing": b"[]",
        "deep": b"[" * 90_000,
        "not json": b"{",
        "pickle": b"\x80\x04cos\nsystem\n",
        "huge": b'[{"predicted_aligned_error":[' + b"[1]," * 90_000 + b"[1]]}]",
    }


def test_wrong_errors(tmp_path: Path, sqlite_database: Database) -> None:
    model, name = "AF-P00520-F1-model_v4.cif", "AF-P00520-F1-predicted_aligned_error_v4.json"
    text = dict(layouts.afdb_files(monomer()))[model]
    for kind, content in pae_files().items():
        (tmp_path / kind).mkdir()
        (tmp_path / kind / model).write_bytes(text)
        (tmp_path / kind / name).write_bytes(content)
    found = problems(sqlite_database, tmp_path)
    for problem, kind in zip(found, sorted(pae_files()), strict=True):
        assert problem.startswith(f"{tmp_path}/{kind}/{name}")
    assert list(sqlite_database.entries()) == []


def test_names_with_scripts_and_escapes(tmp_path: Path, sqlite_database: Database) -> None:
    """They are harmless in messages and become plain names of entries."""
    (tmp_path / f"{ESCAPES.replace('/', '')}.pdb").write_text(GOOD)
    (tmp_path / f"bad{ESCAPES.replace('/', '')}.pdb").write_text("x")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"{ESCAPES}.cif", "data_x")
        archive.writestr(f"../{ESCAPES}.cif", "data_x")
    found = problems(sqlite_database, tmp_path)
    assert len(found) == 3
    [entry] = sqlite_database.entries()
    assert re.fullmatch(r"[\w.-]+", entry.name)


def test_names_of_chains_and_titles(tmp_path: Path, sqlite_database: Database) -> None:
    """A file's texts are kept as texts."""
    text = CIF.replace("data_", "data_x\n_struct.title '<script>'\n#", 1)
    (tmp_path / "x.cif").write_text(text)
    assert problems(sqlite_database, tmp_path) == []


@pytest.mark.parametrize("number", [10_000, 1_000_000])
def test_very_many_residues(number: int, tmp_path: Path, sqlite_database: Database) -> None:
    """A small packed file may hold millions of residues."""
    head, row = CIF.partition("ATOM ")[0], X[0] if X else ""
    rows = f"{row}\n".encode() * min(number, 100_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.cif", "w") as file:
            file.write(head.encode())
            for _ in range(max(number // 100_000, 1)):
                file.write(rows)
        archive.writestr("good.pdb", GOOD)
    [problem] = problems(sqlite_database, tmp_path / "a.zip")
    assert problem.startswith(f"{tmp_path}/a.zip, x.cif")
    assert ("holds more than" in problem) == (number > 100_000)
    assert [each.name for each in sqlite_database.entries()] == ["good"]


def test_a_tar_of_many_files_that_are_no_predictions(
    tmp_path: Path, sqlite_database: Database
) -> None:
    """They are counted."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(2000):
            tar.addfile(tarfile.TarInfo(f"../x{number}.cif"))
            tar.addfile(tarfile.TarInfo(f"{number}.txt"))
        info = tarfile.TarInfo("good.pdb")
        info.size = len(GOOD)
        tar.addfile(info, io.BytesIO(GOOD.encode()))
    [problem] = problems(sqlite_database, tmp_path / "a.tar")
    assert problem == (
        f"{tmp_path}/a.tar has 2000 files (e.g. '../x0.cif'), each of which leads out of the "
        "archive: they are left out."
    )
    assert [each.name for each in sqlite_database.entries()] == ["good"]


@pytest.mark.parametrize("write", [layouts.alphafold2, layouts.colabfold, layouts.alphafold3])
def test_a_damaged_file_of_results(
    write: Callable[..., Path], tmp_path: Path, sqlite_database: Database
) -> None:
    """The whole prediction is skipped: half of an ensemble would be another prediction."""
    write(tmp_path / "in" / "bad", monomer)
    write(tmp_path / "in" / "good", lambda rank: monomer(rank + 3))
    for path in (tmp_path / "in" / "bad").rglob("*.json"):
        path.write_bytes(path.read_bytes()[:40])
    [problem] = problems(sqlite_database, tmp_path / "in")
    assert f"{tmp_path}/in/bad/" in problem
    assert len(list(sqlite_database.entries())) == 1


OTHER = f">q\n{'M' * 40}\n"
ALIGNMENTS = [
    (layouts.alphafold2, "msas/uniref90_hits.sto", "\xff\0\x80", "The alignment is left out: "),
    (layouts.alphafold2, "msas/uniref90_hits.sto", "# STOCKHOLM 1.0\nq MK\n//\n", "left out: "),
    (layouts.colabfold, "q_1.a3m", "#9999999,1\t1,1\n>101\nMK\n", "The alignment is left out: "),
    (layouts.colabfold, "q_1.a3m", OTHER, "the alignment of another sequence is left out"),
    (layouts.colabfold, "q_1.a3m", "", "the alignment of another sequence is left out"),
    (layouts.alphafold3, "job_data.json", '{"unpairedMsa": "\\x"}', "alignment that is not text"),
    (layouts.alphafold3, "job_data.json", '{"unpairedMsa":">\\ud800"}', "that is not text"),
    (layouts.alphafold3, "job_data.json", '"unpairedMsa":"' * 9999, ""),
]


@pytest.mark.parametrize(("write", "name", "content", "note"), ALIGNMENTS)
def test_damaged_alignments(
    write: Callable[..., Path],
    name: str,
    content: str,
    note: str,
    tmp_path: Path,
    sqlite_database: Database,
) -> None:
    """They are left out, and the prediction is kept."""
    write(tmp_path / "job", monomer)
    (tmp_path / "job" / name).write_text(content, "latin-1")
    [outcome] = import_paths(sqlite_database, [tmp_path / "job"])
    assert outcome.published is not None, outcome.problem
    assert any(note in each for each in outcome.notes)
    [entry] = sqlite_database.entries()
    assert entry.latest.alignments == ()


def test_paths_without_predictions(tmp_path: Path, sqlite_database: Database) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").touch()
    paths = [tmp_path / name for name in ("empty", "a.txt", "missing", "b.zip")]
    paths[-1].write_bytes(b"PK\3\4garbage")
    advice = "give a prediction, or a folder or archive of predictions."
    assert sorted(problems(sqlite_database, *paths)) == sorted(
        [
            f"{tmp_path}/empty has no prediction in a layout that is read: {advice}",
            f"{tmp_path}/a.txt has no prediction in a layout that is read: {advice}",
            f"{tmp_path}/missing does not exist: check the path.",
            f"{tmp_path}/b.zip is damaged or cut off: replace it.",
        ]
    )


def test_a_version_that_is_taken(tmp_path: Path, sqlite_database: Database) -> None:
    """The rest of the batch is published."""
    for folder, seed in (("a", 0), ("b", 1)):
        (tmp_path / folder).mkdir()
        for name, content in layouts.afdb_files(monomer(seed)):
            (tmp_path / folder / name).write_bytes(content)
    (tmp_path / "c.pdb").write_text(GOOD)
    [problem] = problems(sqlite_database, tmp_path)
    assert problem == (
        f"{tmp_path}/b/AF-P00520-F1-model_v4.cif is not kept: AF-P00520-F1 has another "
        "prediction as version 4: publish this one as the next version."
    )
    assert len(list(sqlite_database.entries())) == 2
