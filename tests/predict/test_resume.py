"""What counts as finished: the same inputs, the same settings, and files that nobody changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldry.predict.resume import RECORD, Store, query_hash
from foldry.predict.settings import Settings
from foldry.query import TemplateHit
from foldry.results.folder import write_query
from foldry.weights.networks import NetworkFile
from tests.predict.fake import fake_prediction


@pytest.fixture
def network(tmp_path: Path) -> NetworkFile:
    path = tmp_path / "params_model_1_ptm.npz"
    path.write_bytes(b"parameters")
    return NetworkFile("model_1_ptm", path)


def test_files_that_another_run_replaced_are_not_finished(
    network: NetworkFile, tmp_path: Path
) -> None:
    prediction, folder = fake_prediction(), tmp_path / "q"
    store = Store(folder, prediction.query, Settings(), [network])
    assert not store.is_finished()
    store.finish(write_query([prediction], folder))
    assert store.is_finished()
    # As a run with other settings leaves the folder when it is ended while it writes.
    write_query([fake_prediction(seed=1)], folder)
    assert not store.is_finished()
    store.finish(write_query([prediction], folder))
    assert store.is_finished()


def test_what_a_killed_run_wrote_is_removed_by_the_next(
    network: NetworkFile, tmp_path: Path
) -> None:
    prediction, folder = fake_prediction(), tmp_path / "q"
    first = Store(folder, prediction.query, Settings(), [network])
    first.finish(write_query([prediction], folder, first.begin))
    killed = Store(folder, prediction.query, Settings(seeds=(1, 2)), [network])
    write_query([fake_prediction(seed=1), fake_prediction(seed=2)], folder, killed.begin)
    (folder / "mine.txt").touch()
    assert not killed.is_finished() and killed.is_other()
    last = Store(folder, prediction.query, Settings(), [network])
    written = write_query([prediction], folder, last.begin)
    last.finish(written)
    names = {path.name for path in written} | {RECORD, "mine.txt"}
    assert {path.name for path in folder.iterdir()} == names


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": "k", "files": ["ranked_0.cif"]}'])
def test_a_damaged_note_means_not_finished(network: NetworkFile, tmp_path: Path, text: str) -> None:
    prediction, folder = fake_prediction(), tmp_path / "q"
    store = Store(folder, prediction.query, Settings(), [network])
    files = write_query([prediction], folder)
    (folder / RECORD).write_text(text)
    assert not store.is_finished()
    store.finish(files)
    assert store.is_finished()


def test_a_damaged_kept_prediction_is_computed_again(network: NetworkFile, tmp_path: Path) -> None:
    pairs = np.array([[np.nan, 0.5], [0.25, np.nan]])
    prediction = replace(fake_prediction(), chain_pair_iptm=pairs)
    store = Store(tmp_path / "q", prediction.query, Settings(), [network])
    store.save(network, 0, prediction)
    kept = store.load(network, 0)
    assert kept is not None and kept.provenance == prediction.provenance
    assert kept.chain_pair_iptm is not None and kept.actifptm is None
    np.testing.assert_array_equal(kept.chain_pair_iptm, pairs)
    assert store.load(network, 1) is None
    [path] = store.unranked.iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    assert store.load(network, 0) is None


@pytest.mark.parametrize(
    ("offset", "value"),
    [(8, 1), (10, 99), (10, 14)],
    ids=["encrypted", "unknown compression", "LZMA"],
)
def test_a_kept_prediction_with_flipped_bits_is_computed_again(
    network: NetworkFile, tmp_path: Path, offset: int, value: int
) -> None:
    prediction = fake_prediction()
    store = Store(tmp_path / "q", prediction.query, Settings(), [network])
    store.save(network, 0, prediction)
    [path] = store.unranked.iterdir()
    content = bytearray(path.read_bytes())
    # An entry of the archive's directory has its name 46 bytes after its begin.
    entry = content.rindex(b"structure.aatype.npy") - 46
    content[entry + offset] = value
    path.write_bytes(content)
    assert store.load(network, 0) is None


def test_all_that_matters_changes_the_hash() -> None:
    prediction = fake_prediction()
    query, structure = prediction.query, prediction.structure
    [chain] = query.chains
    assert chain.alignment is not None
    pairs = np.tile(np.arange(5), (2, 1)).T
    hit = TemplateHit("1adz_A", structure, pairs)
    moved = replace(structure, atom_positions=structure.atom_positions + 0.1)
    sparse = replace(structure, atom_mask=structure.atom_mask & (np.arange(37) < 5))
    mutated = replace(structure, aatype=np.roll(structure.aatype, 1))
    templates = [
        (hit,),
        (hit, hit),
        (replace(hit, pairs=pairs + 1),),
        *((replace(hit, structure=other),) for other in (moved, sparse, mutated)),
    ]
    deletions = chain.alignment.deletions.copy()
    deletions[1, 3] += 1
    changed = [
        replace(chain, ids=("B",)),
        replace(chain, sequence="A" + chain.sequence[1:]),
        replace(chain, alignment=None),
        replace(chain, alignment=None, paired=chain.alignment),
        replace(chain, alignment=replace(chain.alignment, deletions=deletions)),
        *(replace(chain, templates=hits) for hits in templates),
    ]
    queries = [replace(query, chains=(other,)) for other in changed]
    queries += [query, replace(query, paired_by_row=True)]
    assert len({query_hash(each) for each in queries}) == len(queries)
    assert query_hash(replace(query, name="other")) == query_hash(query)
