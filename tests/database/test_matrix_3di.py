"""The substitution matrix of 3Di letters, compared with Foldseek's, which biotite has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.matrix_3di import as_text, log_odds, module, scale, structures
from biotite.sequence.align import SubstitutionMatrix  # type: ignore[import-untyped]

from foldry.database import letters_3di, similar
from foldry.database.letters_3di import ALPHABET, letters, matrix
from foldry.database.segments import END, LETTERS_3DI, SEQUENCES
from foldry.search import mmseqs

FIRST, NUM_QUERIES = 10, 10


def scores() -> np.ndarray:
    rows = [line.split() for line in matrix().splitlines() if not line.startswith("#")]
    assert rows[0] == [*ALPHABET, "X"]
    assert [row[0] for row in rows[1:]] == [*ALPHABET, "X"]
    return np.array([row[1:] for row in rows[1:]], int)[:20, :20]


def foldseek() -> np.ndarray:
    standard = SubstitutionMatrix.std_3di_matrix()
    letters_of = [str(letter).upper() for letter in standard.get_alphabet1()]
    order = [letters_of.index(letter) for letter in ALPHABET]
    return np.asarray(standard.score_matrix())[np.ix_(order, order)]


def header(name: str) -> np.ndarray:
    [line] = [each for each in matrix().splitlines() if each.startswith(f"# {name}")]
    return np.array(line.partition(":")[2].split(), float)


def test_the_matrix_is_close_to_foldseeks() -> None:
    ours, theirs = scores(), foldseek()
    assert (ours == ours.T).all()
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.97
    assert np.abs(ours - theirs).mean() < 1
    assert (np.diag(ours) == ours.max(axis=1)).all()


def test_the_scale_and_the_background_fit_the_scores() -> None:
    background, [scale_] = header("Background"), header("Lambda")
    assert background.sum() == pytest.approx(1, abs=1e-4)
    share = np.outer(background[:20], background[:20])
    assert (share * np.exp(scale_ * scores())).sum() == pytest.approx(1, abs=1e-3)
    assert (share * scores()).sum() < 0
    assert scale_ == pytest.approx(np.log(2) / 2, abs=0.02), "half-bits"


def test_log_odds_of_known_counts() -> None:
    counts = np.full((20, 20), 100.0)
    assert (log_odds(counts)[0] == 0).all(), "independent letters"
    counts += np.eye(20) * 10_000
    found, background = log_odds(counts)
    assert background == pytest.approx(np.full(20, 0.05))
    joint = (2 * 10_100 + 1) / (2 * counts.sum() + 400)
    assert (np.diag(found) == np.rint(2 * np.log2(joint / 0.05**2))).all()
    assert (found[~np.eye(20, dtype=bool)] < 0).all()
    text = as_text(found, background, 1, 1)
    assert f"{scale(found, background):.6f}" in text


def recall(data: Path, folder: Path) -> tuple[float, int]:
    """Return the share of distant relatives of val chains among the first hits, and how many."""
    reader = module(data / "templates" / "read_templates.py")
    hits = reader.TemplateHits(data / "templates" / "templates-val.npz")
    related = {
        name: {
            hit["target"] for hit in hits[name] if hit["identity"] < 0.3 and hit["evalue"] < 1e-5
        }
        for name in hits.ids
    }
    some = [name for name, each in sorted(related.items()) if len(each) >= FIRST][:NUM_QUERIES]
    related = {name: {*sorted(related[name])[:FIRST]} for name in some}
    targets = {*set().union(*related.values())}
    chains = {each.name: each for each in structures(data, "[!v]*") if each.name in targets}
    queries = {each.name: each for each in structures(data, "val")}
    names = [*chains, *queries]
    every = letters([chains.get(name) or queries[name] for name in names])
    texts = dict(zip(names, every, strict=True))
    data_file = b"".join(each.encode() + END for each in every)
    index, start = [], 0
    for row, each in enumerate(every):
        index.append(f"{row}\t{start}\t{len(each) + len(END)}\n")
        start += len(each) + len(END)
    (folder / "letters_3di").write_bytes(data_file)
    (folder / "letters_3di.index").write_text("".join(index))
    (folder / "letters_3di.dbtype").write_bytes(SEQUENCES)
    found = total = 0
    for name, others in related.items():
        query = similar._Query(texts[name], texts[name])
        lines = similar._align(
            mmseqs.find(similar._NEEDED), query, folder / "letters_3di", LETTERS_3DI, folder
        )
        best = [names[line.row] for line in lines if names[line.row] != name][:FIRST]
        found, total = found + len(others & {*best}), total + len(others)
    return found / total, total


@pytest.mark.tools
@pytest.mark.slow
def test_the_matrix_finds_as_many_relatives_as_foldseeks(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ours").mkdir()
    ours, total = recall(data_dir, tmp_path / "ours")
    theirs_text = as_text(foldseek(), header("Background")[:20], 0, 0)
    monkeypatch.setattr(letters_3di, "matrix", lambda: theirs_text)
    (tmp_path / "theirs").mkdir()
    theirs, _ = recall(data_dir, tmp_path / "theirs")
    assert total == FIRST * NUM_QUERIES
    assert ours >= theirs - 0.01, (ours, theirs)
    assert ours > 0.8
