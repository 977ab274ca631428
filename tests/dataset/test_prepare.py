"""Structures and alignments become packs; bad files are dropped, and the report says why."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from foldry.dataset import prepare
from foldry.dataset.chains import CIS, TRANS, Candidate, Dropped, _faults, read_candidates
from foldry.dataset.config import PrepareConfig, SplitConfig
from foldry.dataset.packs import Library, read_table
from foldry.dataset.prepare import run_all
from foldry.dataset.samples import TrainingSet
from foldry.errors import InputError, MissingError
from foldry.formats.coordinates import to_pdb
from foldry.formats.sequence import file_name
from foldry.residues import CA, CB, GAP, RESNAMES, RESTYPE_ORDER, C, N, O
from foldry.search import mmseqs
from foldry.structure import Structure
from tests.train.abrupt import end_abruptly

LETTERS = "ARNDCQEGHILKMFPSTWYV"


def helix(sequence: str, name: str = "x", chain: str = "A") -> Structure:
    """Return an α-helix with atoms at approximately the right positions."""
    size = len(sequence)
    atoms = {N: (1.55, -28, -0.9), CA: (2.28, 0, 0), C: (1.66, 27, 1.1), O: (2.0, 22, 2.3)}
    atoms[CB] = (3.3, -18, -0.3)
    positions, mask = np.zeros((size, 37, 3)), np.zeros((size, 37), bool)
    for atom, (radius, angle, rise) in atoms.items():
        turn = np.radians(100 * np.arange(size) + angle)
        place = [radius * np.cos(turn), radius * np.sin(turn), 1.5 * np.arange(size) + rise]
        positions[:, atom], mask[:, atom] = np.stack(place, axis=1).round(3), True
    aatype = np.array([RESTYPE_ORDER[letter] for letter in sequence])
    mask[aatype == RESTYPE_ORDER["G"], CB] = False
    return Structure(
        name=name,
        aatype=aatype,
        residue_number=np.arange(size) + 7,
        insertion_code=np.full(size, ""),
        chain_id=np.full(size, chain),
        atom_positions=positions * mask[..., None],
        atom_mask=mask,
        b_factor=np.tile(np.linspace(40, 99, size)[:, None], (1, 37)),
    )


def letters(seed: int, size: int = 40) -> str:
    return "".join(np.random.default_rng(seed).choice(list(LETTERS), size))


def seqres(sequence: str) -> str:
    names = [RESNAMES[RESTYPE_ORDER[letter]] for letter in sequence]
    starts = range(0, len(names), 13)
    return "".join(
        f"SEQRES {number:3} A {len(names):4}  {' '.join(names[start : start + 13])}\n"
        for number, start in enumerate(starts, start=1)
    )


def resolution(value: float) -> str:
    return f"REMARK   2\nREMARK   2 RESOLUTION. {value:7.2f} ANGSTROMS.\n"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    structures, alignments = tmp_path / "structures" / "deep", tmp_path / "alignments"
    structures.mkdir(parents=True)
    alignments.mkdir()
    return structures, alignments, tmp_path / "out"


def fill(structures: Path, alignments: Path) -> None:
    """Write four good chains, a copy of one, and files with one fault each."""

    def write(name: str, structure: Structure, header: str = "") -> None:
        (structures / f"{name}.pdb").write_text(header + to_pdb(structure))

    for number in range(4):
        write(f"good{number}", helix(letters(number)), resolution(2.5))
    write("copy", helix(letters(3)), resolution(1.5))
    write("short", helix(letters(5, 20)))
    write("blurred", helix(letters(6)), resolution(9.0))
    torn = helix(letters(7))
    torn.atom_positions[::3] += 2.0
    write("torn", torn)
    bare = helix(letters(8))
    bare.atom_mask[::2, N] = False
    write("bare", bare)
    odd = helix("".join("X" if k % 5 == 0 else a for k, a in enumerate(letters(9))))
    write("odd", odd)
    far = helix(letters(10))
    far.atom_positions[3, O] += 50.0
    write("far", far)
    write("other", helix(letters(11)))
    (structures / "junk.cif").write_bytes(bytes(range(256)) * 20)
    (structures / "empty.pdb").write_text("")
    cut = gzip.compress(to_pdb(helix(letters(12))).encode())
    (structures / "cut.pdb.gz").write_bytes(cut[: len(cut) // 2])
    row = letters(0)[:10] + "-" * 5 + letters(0)[15:]
    (alignments / "good0.a3m").write_text(f">q\n{letters(0)}\n>a\n{row[:3]}kk{row[3:]}\n")
    sto = f"# STOCKHOLM 1.0\nq {letters(1)}\nb {letters(2)}\nc {letters(2)}\n//\n"
    (alignments / "good1_A.sto.gz").write_bytes(gzip.compress(sto.encode()))
    (alignments / "other.a3m").write_text(f">q\n{letters(0)}\n")


def tables(out: Path) -> dict[str, dict[str, str]]:
    return {row["id"] or row["file"]: row for row in read_table(out / "report.tsv")}


def own_clusters(folder: Path, names: list[str]) -> SplitConfig:
    path = folder / "clusters.tsv"
    path.write_text("".join(f"{name}\t{name}\n" for name in names))
    return SplitConfig(clusters=path, val_share=0.25)


GOOD = ["copy_A", "good0_A", "good1_A", "good2_A", "good3_A"]


@dataclass(frozen=True)
class Prepared:
    """The input and the output of a run."""

    structures: Path
    alignments: Path
    out: Path
    split: SplitConfig
    watched: list[tuple[int, int]]

    def run(self, workers: int = 1) -> None:
        """Prepare without MMseqs2."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", "")
            prepare.prepare(
                self.structures,
                self.alignments,
                self.out,
                split=self.split,
                workers=workers,
                watch=lambda done, total: self.watched.append((done, total)),
            )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    structures, alignments = folder / "structures" / "deep", folder / "alignments"
    structures.mkdir(parents=True)
    alignments.mkdir()
    fill(structures, alignments)
    split = own_clusters(folder, GOOD)
    made = Prepared(structures.parent, alignments, folder / "out", split, [])
    made.run(workers=2)
    return made


def test_bad_files_are_dropped_and_the_report_says_why(prepared: Prepared) -> None:
    assert prepared.watched == [(number, 15) for number in range(1, 16)]
    reasons = {name: row["reason"] for name, row in tables(prepared.out).items()}
    assert {name for name, reason in reasons.items() if not reason} == {*GOOD} - {"good3_A"}
    for name, words in {
        "good3_A": "the same sequence as copy_A",
        "short_A": "20 residues, not 30 to 2000",
        "blurred_A": "9.0 Å, above 3.5",
        "torn_A": "of neighbours have CA as far apart as in a peptide, below 95%",
        "bare_A": "50% of the residues have N, CA and C",
        "odd_A": "20% of the residues are X",
        "far_A": "an atom 8",
        "other_A": "other.a3m is an alignment to another sequence",
        "deep/junk.cif": "junk.cif",
        "deep/empty.pdb": "empty.pdb",
        "deep/cut.pdb.gz": "damaged gzip",
    }.items():
        assert words in reasons[name], name
    summary = json.loads((prepared.out / "report.json").read_text())
    assert summary["kept"] == {"train": 3, "val": 1}
    assert summary["dropped"] == 11
    assert summary["clusters"] == 4


def test_the_report_has_empty_cells_where_a_value_is_unknown(prepared: Prepared) -> None:
    def known(name: str) -> dict[str, str]:
        names = ("length", "resolution", "plddt", "rows")
        row = tables(prepared.out)[name]
        return {each: row[each] for each in names if row[each]}

    assert known("good0_A") == {"length": "40", "resolution": "2.5", "rows": "2"}
    assert known("good3_A") == {"length": "40", "resolution": "2.5", "rows": "1"}  # a copy
    assert known("blurred_A") == {"length": "40", "resolution": "9.0"}
    assert known("short_A") == {"length": "20"}
    assert known("other_A") == {"length": "40"}
    assert known("deep/junk.cif") == {}


@pytest.mark.parametrize("plddt", [0.5, 70.0])
def test_the_report_gives_the_plddt_of_predictions(tmp_path: Path, plddt: float) -> None:
    row = prepare.Row("a", "a.pdb", length=40, plddt=plddt, rows=1)
    prepare._report(tmp_path, [row], PrepareConfig(), SplitConfig())
    [line] = read_table(tmp_path / "report.tsv")
    assert float(line["plddt"]) == plddt


def test_kept_chains_are_read_back(prepared: Prepared) -> None:
    out, names = prepared.out, []
    table = tables(out)
    for split in ("train", "val"):
        library = Library(out, [split])
        for row in read_table(out / "splits" / f"{split}.tsv"):
            name = row["id"]
            names.append(name)
            seed = 3 if name == "copy_A" else int(name[4])
            truth, chain = helix(letters(seed)), library.chain(name)
            assert np.array_equal(chain.aatype, truth.aatype)
            assert np.array_equal(chain.residue_index, truth.residue_number)
            assert np.array_equal(chain.mask > 0, truth.atom_mask)
            assert np.abs(chain.positions - truth.atom_positions).max() < 0.001
            assert chain.resolution == pytest.approx(1.5 if name == "copy_A" else 2.5)
            assert (chain.plddt == 100).all()
            msa, deletions = library.alignment(name)
            assert np.array_equal(msa[0], chain.aatype)
            assert len(msa) == int(table[name]["rows"]) == (2 if seed < 2 else 1)
            if name == "good0_A":
                assert np.flatnonzero(msa[1] == GAP).tolist() == [10, 11, 12, 13, 14]
                assert np.flatnonzero(deletions[1]).tolist() == [3]
                assert deletions[1, 3] == 2
            assert library.hits(name) == []
    assert sorted(names) == ["copy_A", "good0_A", "good1_A", "good2_A"]
    data = TrainingSet(out, exclude=())
    assert sum(map(len, data.parts.values())) == 3


def test_a_run_resumes_where_it_stopped(prepared: Prepared) -> None:
    out = prepared.out
    before = {path: path.read_bytes() for path in out.glob("*/*.npz")}
    assert len(before) == 15 + 6
    records = sorted((out / "work").glob("*.npz"))
    untouched = {path: path.stat().st_mtime_ns for path in records[3:]}
    for path in [records[0], out / "msas" / "msas-train.npz", out / "report.json"]:
        path.unlink()
    # A damaged record counts as absent.
    records[1].write_bytes(records[1].read_bytes()[:-30])
    damaged = bytearray(records[2].read_bytes())
    middle = slice(len(damaged) // 2, len(damaged) // 2 + 60)
    damaged[middle] = bytes(byte ^ 255 for byte in damaged[middle])
    records[2].write_bytes(damaged)
    prepared.run()
    assert {path: path.stat().st_mtime_ns for path in records[3:]} == untouched
    assert {path: path.read_bytes() for path in out.glob("*/*.npz")} == before
    # A changed file, and only that, is read again.
    (prepared.structures / "deep" / "good2.pdb").write_text(to_pdb(helix(letters(2, 50))))
    prepared.run()
    assert tables(out)["good2_A"]["length"] == "50"
    assert {path: path.stat().st_mtime_ns for path in records[3:]} == untouched
    assert len(list((out / "work").glob("*.npz"))) == len(records) + 1
    # If the records are deleted, all files are read again.
    before = {path: path.read_bytes() for path in out.glob("*/*-*.npz")}
    shutil.rmtree(out / "work")
    prepared.run()
    assert {path: path.read_bytes() for path in out.glob("*/*-*.npz")} == before


def test_a_file_that_ends_its_process_does_not_end_the_run(
    folders: tuple[Path, Path, Path],
) -> None:
    structures, alignments, out = folders
    for name in ("torn", "good1", "far"):
        (structures / f"{name}.pdb").write_text(to_pdb(helix(letters(1))))
    out.mkdir()
    tasks = prepare._tasks(structures, alignments, out, PrepareConfig())
    failed = run_all(end_abruptly, tasks, 2)
    assert set(failed) == {"torn.pdb", "far.pdb"}
    assert all("ended the process" in str(error) for error in failed.values())
    kept = {task.path.name for task in tasks if task.record.exists()}
    assert kept == {"good1.pdb"}, "the others are read again by the next run"


def test_unseen_residues(folders: tuple[Path, Path, Path]) -> None:
    structures, alignments, _ = folders
    whole = letters(1, 60)
    kept = np.r_[4:30, 36:58]
    seen = helix(whole).select(kept)
    path, rows = structures / "part.pdb", alignments / "part.a3m"
    other = letters(2, 60)
    for header, numbers in ((seqres(whole), None), ("", None)):
        path.write_text(header + to_pdb(seen))
        for query, against in ((whole, other), ("".join(np.array(list(whole))[kept]), None)):
            against = against or "".join(np.array(list(other))[kept])  # noqa: PLW2901
            rows.write_text(f">q\n{query}\n>o\n{against}\n")
            [found] = read_candidates(path, {"part": rows}, PrepareConfig()).values()
            if not header and len(query) == 60:
                assert isinstance(found, Dropped) and "another sequence" in found.reason
                assert found.length == len(kept)
                continue
            assert isinstance(found, Candidate)
            assert np.array_equal(np.diff(found.chain.residue_index), np.diff(kept)), numbers
            assert "".join(LETTERS[code] for code in found.alignment[0][1]) == "".join(
                np.array(list(other))[kept]
            )


def test_predictions_keep_their_plddt(folders: tuple[Path, Path, Path]) -> None:
    structures, _, _ = folders
    path = structures / "model.pdb"
    path.write_text(to_pdb(helix(letters(1))))
    [found] = read_candidates(path, {}, PrepareConfig(predictions=True)).values()
    assert isinstance(found, Candidate)
    np.testing.assert_allclose(found.chain.plddt, np.linspace(40, 99, 40), atol=0.01)
    confident = found.chain.confident(70)
    assert np.array_equal(confident.mask.any(axis=1), found.chain.plddt >= 70)
    assert not confident.positions[confident.mask == 0].any()


def test_nmr_has_no_resolution(folders: tuple[Path, Path, Path]) -> None:
    path = folders[0] / "one.pdb"
    for header, expected in {
        "EXPDTA    SOLUTION NMR\n": 0.0,
        "EXPDTA    X-RAY DIFFRACTION; SOLUTION NMR\n" + resolution(2.5): 2.5,
        "EXPDTA    X-RAY DIFFRACTION\n": np.nan,
        "": np.nan,
    }.items():
        path.write_text(header + to_pdb(helix(letters(1))))
        [found] = read_candidates(path, {}, PrepareConfig()).values()
        assert isinstance(found, Candidate)
        assert found.chain.resolution == pytest.approx(expected, nan_ok=True), header


def test_the_best_copy_is_kept() -> None:
    rows = [
        prepare.Row("a", "1", resolution=np.nan, atoms=500, sequence="S"),
        prepare.Row("b", "2", resolution=2.0, atoms=300, sequence="S"),
        prepare.Row("c", "3", resolution=2.0, atoms=310, sequence="S"),
        prepare.Row("c", "4", resolution=1.0, atoms=310, sequence="T"),
        prepare.Row("d", "5", resolution=np.nan, plddt=60.0, atoms=500, sequence="U"),
        prepare.Row("e", "6", resolution=np.nan, plddt=80.0, atoms=500, sequence="U"),
        prepare.Row("f", "7", resolution=0.0, atoms=500, sequence="S"),
        prepare.Row("g", "8", reason="bad"),
        prepare.Row("g", "9", resolution=2.0, atoms=500, sequence="V"),
    ]
    reasons = [row.reason for row in prepare._drop_copies(rows)]
    same = "the same sequence as c"
    named = "3 also has a chain of this name"
    assert reasons == [same, same, "", named, "the same sequence as e", "", same, "bad", ""]


def test_input_that_cannot_be_used(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    structures, alignments, out = folders
    with pytest.raises(InputError, match="has no mmCIF"):
        prepare.prepare(structures, alignments, out)
    with pytest.raises(InputError, match="nowhere is not a folder"):
        prepare.prepare(structures, tmp_path / "nowhere", out)
    (structures / "short.pdb").write_text(to_pdb(helix("AAAA")))
    with pytest.raises(
        InputError, match=r"\(1 of 1\): 4 residues, not 30 to 2000 \(e\.g\. short_A\)"
    ):
        prepare.prepare(structures, alignments, out)
    [row] = read_table(out / "report.tsv")
    assert "4 residues" in row["reason"]
    # Reasons that differ only in numbers are of one kind.
    (structures / "shorter.pdb").write_text(to_pdb(helix("AAA")))
    for name in ("junk", "waste"):
        (structures / f"{name}.cif").write_bytes(bytes(range(256)) * 20)
    (structures / "tiny.pdb").write_text(to_pdb(helix("AA")))
    with pytest.raises(InputError, match=r"\(3 of 5\): 4 residues.*short_A.*report\.tsv lists all"):
        prepare.prepare(structures, alignments, out)
    for path in structures.iterdir():
        path.unlink()
    fill(structures, alignments)
    with pytest.raises(InputError, match=r"has no cluster for 4 chains, e\.g\. 'copy_A'"):
        prepare.prepare(structures, alignments, out, split=own_clusters(tmp_path, []))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingError, match=r"mmseqs is not installed: .*`clusters`"):
        prepare.prepare(structures, alignments, out)
    with pytest.raises(InputError, match="contains files other"):
        prepare.prepare(structures, alignments, structures)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"min_length": 200, "max_length": 100}, "`min_length` is 200 and `max_length` 100"),
        ({"min_backbone": 80}, "`min_backbone` is 80: give a finite number from 0 to 1"),
        ({"max_unknown": -0.1}, "`max_unknown` is -0.1"),
    ],
)
def test_criteria_that_no_chain_can_meet_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        PrepareConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [None, "one\ttwo\nalone\n", "\0"])
def test_clusters_are_read_before_the_structures(
    folders: tuple[Path, Path, Path], tmp_path: Path, text: str | None
) -> None:
    structures, alignments, out = folders
    fill(structures, alignments)
    table = tmp_path / "wrong.tsv"
    if text is not None:
        table.write_text(text)
    with pytest.raises(InputError, match=r"wrong\.tsv"):
        prepare.prepare(structures, alignments, out, split=SplitConfig(table))
    assert not out.exists()


def changed(sequence: str) -> str:
    """Return the sequence with alanine at every fourth residue."""
    return "".join("A" if place % 4 == 0 else letter for place, letter in enumerate(sequence))


def align_all(program: str, folder: Path, command: str, *arguments: object) -> None:
    """Write the hits of MMseqs2 if every sequence resembled every other, end to end."""
    assert (program, command) == ("mmseqs", "easy-search")
    queries, targets, out = (Path(str(path)) for path in arguments[:3])
    sizes = [
        [len(line) for line in path.read_text().split("\n")[1::2]] for path in (queries, targets)
    ]
    limit = int(str(arguments[arguments.index("--max-seqs") + 1]))
    rows = [
        f"{query}\t{target}\t1\t1\t{min(size, other)}M\n"
        for query, size in enumerate(sizes[0])
        for target, other in list(enumerate(sizes[1]))[:limit]
    ]
    out.write_text("".join(rows))


def test_a_search_may_find_more_than_templates_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmseqs, "find", lambda: "mmseqs")
    monkeypatch.setattr(mmseqs, "run", align_all)
    targets = {f"t{number}": letters(number) for number in range(310)}
    queries = {"q": letters(0), "t5": letters(5)}
    found = mmseqs.search(queries, targets, 1, tmp_path)
    assert [hit.name for hit in found["q"]] == list(targets)
    assert [hit.name for hit in found["t5"]] == [name for name in targets if name != "t5"]
    best = mmseqs.search(queries, targets, 1, tmp_path, mmseqs.MAX_HITS)
    assert best == {name: hits[:20] for name, hits in found.items()}
    assert mmseqs.search({}, targets, 1, tmp_path) == {}


def test_all_chains_near_to_a_held_out_one_are_marked(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    structures, alignments, out = folders
    monkeypatch.setattr(mmseqs, "find", lambda: "mmseqs")
    monkeypatch.setattr(mmseqs, "run", align_all)
    monkeypatch.setattr(mmseqs, "is_here", lambda: True)
    base = letters(0)
    for number in range(26):
        one = base[:number] + ("A" if base[number] != "A" else "L") + base[number + 1 :]
        (structures / f"s{number}.pdb").write_text(to_pdb(helix(one)))
    split = replace(own_clusters(tmp_path, [f"s{n}_A" for n in range(26)]), val_share=0.01)
    prepare.prepare(structures, alignments, out, split=split)
    [held_out] = read_table(out / "splits" / "val.tsv")
    rows = read_table(out / "splits" / "train.tsv")
    assert [row["near"] for row in rows] == ["val"] * 25
    for kind, name in (("val", held_out["id"]), ("train", rows[0]["id"])):
        arrays, row = Library(out, [kind]).templates.find(name)
        assert np.diff(arrays["hit_offsets"])[row] == mmseqs.MAX_HITS


@pytest.mark.tools
def test_mmseqs_finds_templates(tmp_path: Path) -> None:
    if not mmseqs.is_here():
        pytest.skip("MMseqs2 is not installed: Debian's package is mmseqs2")
    one, other = letters(1, 120), letters(2, 120)
    gapped = changed(one[:50] + one[56:])
    sequences = {"one": one, "other": other, "gapped": gapped}
    hits = mmseqs.search({"one": one}, sequences, 1, tmp_path)["one"]
    assert [hit.name for hit in hits] == ["gapped"]
    here, there = hits[0].pairs.T
    equal = [one[a] == gapped[b] for a, b in zip(here, there, strict=True)]
    assert hits[0].identity == pytest.approx(np.mean(equal))
    assert hits[0].identity > 0.7
    assert len(here) > 100


@pytest.mark.slow
@pytest.mark.tools
def test_prepare_with_mmseqs(folders: tuple[Path, Path, Path]) -> None:
    if not mmseqs.is_here():
        pytest.skip("MMseqs2 is not installed: Debian's package is mmseqs2")
    structures, alignments, out = folders
    # b resembles only half of a: it is in another cluster, but near.
    sequences = {"a": letters(1, 100), "c": letters(3, 90)}
    sequences["b"] = changed(letters(1, 61)[1:]) + letters(2, 150)
    sequences["d"] = changed(sequences["c"][4:])
    for name, sequence in sequences.items():
        (structures / f"{name}.pdb").write_text(to_pdb(helix(sequence)))
    # Two of the three clusters go to the validation split: seed 0 leaves b's to train on.
    split = SplitConfig(val_share=0.6, seed=0)
    prepare.prepare(structures, alignments, out, split=split)
    table = tables(out)
    assert {name: table[f"{name}_A"]["split"] for name in sequences} == {
        "a": "val", "b": "train", "c": "val", "d": "val"
    }  # fmt: skip
    assert table["c_A"]["cluster"] == table["d_A"]["cluster"]
    [row] = read_table(out / "splits" / "train.tsv")
    assert (row["id"], row["near"]) == ("b_A", "val")
    library = Library(out, ["val"])
    [hit] = library.hits("a_A")
    assert hit.name == "b_A"
    assert 0.7 < hit.identity < 0.9
    assert set((hit.pairs[:40, 0] - hit.pairs[:40, 1]).tolist()) == {1}
    assert library.hits("c_A") == []


@pytest.mark.parametrize("header", ["1adz", "1adz some domain", "my/1adz"])
def test_alignments_of_results_are_found_by_the_name_of_the_query(
    folders: tuple[Path, Path, Path], caplog: pytest.LogCaptureFixture, header: str
) -> None:
    structures, alignments, out = folders
    safe = file_name(header.partition(" ")[0], "")
    for number, name in enumerate(("1adz", "two")):
        folder = structures / (safe if name == "1adz" else name)
        folder.mkdir()
        (folder / "ranking_debug.json").touch()
        (folder / "ranked_0.pdb").write_text(to_pdb(helix(letters(number))))
    rows = f"{letters(0)}\n>a\n{letters(0)[:20]}{letters(9)[20:]}\n"
    (alignments / "kun.a3m").write_text(f">{header}\n{rows}")
    (alignments / "two.a3m").write_text(f">x\n{letters(1)}\n>a\n{letters(2)}\n")
    (alignments / "stray.a3m").write_text(f">stray\n{letters(3)}\n")
    (alignments / "not.a3m").write_text("no alignment")
    names = [f"{safe}_A", "two_A"]
    table = prepare.prepare(structures, alignments, out, split=own_clusters(out.parent, names))
    assert {row.id: row.rows for row in table} == dict.fromkeys(names, 2)
    [said] = caplog.messages
    assert said.startswith("2 of 4 alignments are named after no chain or structure, e.g.")
    assert said.endswith("not.a3m.")


def test_only_structure_files_are_taken_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.cif").mkdir()
    for name in ("a.pdb", "b.cif.gz", "notes.txt"):
        (tmp_path / name).touch()
    names = [path.name for path in prepare._files(tmp_path, prepare.STRUCTURE_SUFFIXES)]
    assert sorted(names) == ["a.pdb", "b.cif.gz"]


@pytest.mark.parametrize(
    ("step", "is_peptide"),
    [*((step, True) for step in (*TRANS, *CIS)), (2.6, False), (3.35, False), (4.2, False)],
)
def test_neighbours_are_as_far_apart_as_in_a_peptide(step: float, is_peptide: bool) -> None:
    chain = helix("AA")
    chain.atom_positions[:, CA] = [[0, 0, 0], [step, 0, 0]]
    faults = list(_faults(chain, np.arange(2), 1.0, PrepareConfig()))
    assert any("as in a peptide" in fault for fault in faults) == (not is_peptide)
