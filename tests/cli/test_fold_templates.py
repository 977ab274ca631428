"""`foldry fold --templates FOLDER` and `foldry.fold(templates=FOLDER)`."""

from __future__ import annotations

import gzip
import json
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zstandard

import foldry
from foldry.cli.main import main
from foldry.errors import InputError
from foldry.formats.coordinates import read_structure, to_pdb
from foldry.inputs.structures import MAX_FILES, read_templates
from foldry.predict import stages
from foldry.predict.stages import MAX_TEMPLATES, with_templates
from foldry.query import Chain, Query
from foldry.residues import CA, CB, C, N
from foldry.structure import Structure

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "kunitz" / "1adz.cif"
KUNITZ = read_structure(EXAMPLE)
FOLD = ["-o", "out", "--num-recycles", "0", "--device", "cpu"]


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with structures in every format, and what people have beside them."""
    monkeypatch.chdir(tmp_path)
    Path("q.fasta").write_text(f">q\n{KUNITZ.sequence}\n")
    folder = Path("known")
    (folder / "deeper").mkdir(parents=True)
    part = {end: to_pdb(KUNITZ.select(np.arange(end))).encode() for end in (63, 60, 50, 40)}
    (folder / "b.PDB").write_bytes(part[60])
    (folder / "c.ent.gz").write_bytes(gzip.compress(part[63]))
    (folder / "d.pdb.xz").write_bytes(lzma.compress(part[40]))
    (folder / "e.pdb.zst").write_bytes(zstandard.compress(part[50]))
    (folder / "a.cif").write_bytes(EXAMPLE.read_bytes())
    for other in ("deeper/f.pdb", "._a.cif", ".g.pdb", "notes.txt", "a.cif.json", "list.tsv"):
        (folder / other).write_text("mine")
    return folder


def test_a_folder_stands_for_its_structures(
    known: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_templates("known")
    assert [(each.name, len(each)) for each in found] == list(
        zip("abcde", (63, 60, 63, 40, 50), strict=True)
    )
    assert main(["fold", "q.fasta", "--templates", "known/", *FOLD]) == 0
    # Those with the most residues first, as the network reads or tries only some.
    scores = json.loads(next(Path("out/q").glob("scores_*.json")).read_text())
    assert scores["templates"]["A"] == ["a_A", "c_A", "b_A", "e_A", "d_A"]
    [read] = scores["provenance"]["templates_read"]["A"]
    assert read in scores["templates"]["A"][:4]
    said = " ".join(capsys.readouterr().err.split())
    assert "mini reads one template per chain: for 'q', it tries each template, at most 4" in said
    assert "The networks try 4 templates per chain: others of 'q' have no effect." in said


def test_the_folder_in_python(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def note(query: Query, templates: list[Structure]) -> None:
        seen.append([each.name for each in templates])
        raise InterruptedError

    monkeypatch.setattr(stages, "with_templates", note)
    for given in (known, "known", [KUNITZ, known, "known/b.PDB:A"]):
        with pytest.raises(InterruptedError):
            foldry.fold("q.fasta", templates=given)
    assert seen == [list("abcde"), list("abcde"), ["1adz", *"abcde", "b"]]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("known/bad.cif", "data_x\nloop_\n_atom_site.id\n1\n", "known/bad.cif has no"),
        ("known/bad.pdb", "ATOM      1  CA  ALA A   1       x\n", "bad.pdb, line 1, is cut off"),
        ("known/bad.cif.gz", "hello\n", "known/bad.cif.gz is not a PDB, mmCIF or BinaryCIF file"),
    ],
)
def test_a_broken_structure_is_named_before_anything_is_computed(
    known: Path, name: str, content: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(name).write_text(content)
    assert main(["fold", "q.fasta", "--templates", "known", *FOLD]) == 2
    assert said in capsys.readouterr().err
    assert not Path("out").exists()


def test_folders_that_are_no_templates(known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {
        "known/deeper/..:A": "known/deeper/.. is a folder, in which no chain can be selected: name",
        "empty": "empty is a folder without a PDB, mmCIF or BinaryCIF file: check the path.",
        "many": f"many holds {MAX_FILES + 1} structures, and the limit is {MAX_FILES}: keep",
    }
    Path("empty").mkdir()
    Path("many").mkdir()
    for number in range(MAX_FILES + 1):
        Path(f"many/{number}.pdb").touch()
    for name, said in wrong.items():
        assert main(["fold", "q.fasta", "--templates", name, *FOLD]) == 2
        assert said in capsys.readouterr().err


def mutated(name: str, changed: int) -> Structure:
    """The example with its first residues replaced by others."""
    aatype = KUNITZ.aatype.copy()
    aatype[:changed] = (aatype[:changed] + 7) % 20
    return Structure(name, aatype, *[vars(KUNITZ)[each] for each in list(vars(KUNITZ))[2:]])


def test_the_most_similar_of_many_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    query = Query("q", (Chain(("A",), KUNITZ.sequence), Chain(("B",), "GGSGGSGGS")))
    order = [7, 3, *range(8, 40), 0, 5]
    given = [mutated(f"t{changed}", changed) for changed in order]
    first, second = with_templates(query, given).chains
    assert [hit.name for hit in first.templates] == [
        f"t{changed}_A" for changed in sorted(order)[:MAX_TEMPLATES]
    ]
    assert second.templates == ()
    caplog.clear()
    far = [KUNITZ.select(np.arange(5), "far"), KUNITZ.select(np.arange(4), "farther")]
    [hit] = with_templates(query, [far[0], KUNITZ, far[1]]).chains[0].templates
    assert hit.name == "1adz_A"
    assert "2 of 3 templates are not used for q. The template 'far' has fewer" in caplog.text
    with pytest.raises(InputError, match="template 'far' has fewer than 10 residues"):
        with_templates(query, far)


@pytest.mark.usefixtures("known")
def test_the_memory_of_a_folder_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldry.inputs.structures.MAX_RESIDUES", 150)
    with pytest.raises(InputError, match="known holds structures of more than 150 residues: keep"):
        read_templates("known")


@pytest.mark.parametrize(
    ("atoms", "is_said"), [((CA,), True), ((CA, CB), True), ((N, CA, C), False)]
)
def test_a_template_of_ca_alone_hardly_counts(
    atoms: tuple[int, ...], is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    mask = np.zeros_like(KUNITZ.atom_mask)
    mask[:, atoms] = KUNITZ.atom_mask[:, atoms]
    template = replace(KUNITZ, atom_mask=mask)
    with_templates(Query("q", (Chain(("A",), KUNITZ.sequence),)), [template])
    assert ("hardly any effect, because it has Cα atoms alone" in caplog.text) == is_said
