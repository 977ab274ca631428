"""Results kept of an unfinished query: exact, checked, and named by all that they depend on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from foldry.formats.npz import read_arrays, write_arrays
from foldry.model.config import preset
from foldry.predict import stages
from foldry.predict.kept import Kept
from foldry.predict.settings import Settings
from foldry.query import Alignment, Hit
from foldry.store.hashes import content_key
from foldry.weights.networks import NetworkFile
from tests.fuzz import mutate
from tests.predict.fake import fake_prediction


def test_a_kept_prediction_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    pairs = np.array([[np.nan, 0.5], [0.25, np.nan]])
    prediction = replace(fake_prediction(), chain_pair_iptm=pairs)
    kept = Kept(tmp_path / "q")
    kept.save("a", prediction)
    again = kept.load("a", prediction.query)
    assert again is not None and again.provenance == prediction.provenance
    assert again.chain_pair_iptm is not None and again.actifptm is None
    np.testing.assert_array_equal(again.chain_pair_iptm, pairs)
    assert again == prediction and hash(again) == hash(prediction)
    assert kept.load("b", prediction.query) is None


def test_results_that_were_not_requested_are_dropped(tmp_path: Path) -> None:
    prediction = fake_prediction()
    earlier = Kept(tmp_path / "q")
    for key in ("a", "b"):
        earlier.save(key, prediction)
    later = Kept(tmp_path / "q")
    assert later.load("a", prediction.query) is not None
    later.save("c", prediction)
    later.drop_others()
    assert {path.name for path in (tmp_path / "q").iterdir()} == {"a.kept", "c.kept"}


def test_a_damaged_kept_prediction_is_computed_again(tmp_path: Path) -> None:
    prediction, kept = fake_prediction(), Kept(tmp_path / "q")
    kept.save("a", prediction)
    [path] = kept.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    assert kept.load("a", prediction.query) is None


@pytest.mark.parametrize("damage", [mutate.archive, mutate.bytes_])
def test_damage_never_gives_another_prediction(tmp_path: Path, damage: mutate.Mutator) -> None:
    prediction, kept = fake_prediction(), Kept(tmp_path / "q")
    kept.save("a", prediction)
    [path] = kept.folder.iterdir()
    content, rng = path.read_bytes(), Random(0)
    for _ in range(100):
        path.write_bytes(damage(rng, content))
        assert kept.load("a", prediction.query) in (None, prediction)


def test_a_record_that_is_not_a_record_is_damage(tmp_path: Path) -> None:
    prediction, kept = fake_prediction(), Kept(tmp_path / "q")
    kept.save("a", prediction)
    [path] = kept.folder.iterdir()
    arrays = read_arrays(path)
    sound = str(arrays["record"])
    del arrays["digest"]
    for record in (sound, "7", "[" * 100_000, "{}", "null", "[]", sound[:-1]):
        changed = arrays | {"record": np.array(record)}
        with path.open("wb") as file:
            write_arrays(file, changed | {"digest": np.array(content_key(changed))})
        assert kept.load("a", prediction.query) == (prediction if record == sound else None)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(8, 1), (10, 99), (10, 14)],
    ids=["encrypted", "unknown compression", "LZMA"],
)
def test_a_kept_prediction_with_flipped_bits_is_computed_again(
    tmp_path: Path, offset: int, value: int
) -> None:
    prediction, kept = fake_prediction(), Kept(tmp_path / "q")
    kept.save("a", prediction)
    [path] = kept.folder.iterdir()
    content = bytearray(path.read_bytes())
    # An entry of the archive's directory has its name 46 bytes after its begin.
    entry = content.rindex(b"structure.aatype.npy") - 46
    content[entry + offset] = value
    path.write_bytes(content)
    assert kept.load("a", prediction.query) is None


def test_everything_that_matters_changes_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "config_of", lambda network: preset(network.name))
    path = tmp_path / "params_model_1_ptm.npz"
    path.write_bytes(b"parameters")
    network = NetworkFile("model_1_ptm", path)
    prediction = fake_prediction()
    query, structure = prediction.query, prediction.structure
    [chain] = query.chains
    assert chain.alignment is not None
    pairs = np.tile(np.arange(5), (2, 1)).T
    hit = Hit("1adz_A", pairs, structure)
    moved = replace(structure, atom_positions=structure.atom_positions + 0.1)
    sparse = replace(structure, atom_mask=structure.atom_mask & (np.arange(37) < 5))
    mutated = replace(structure, aatype=np.roll(structure.aatype, 1))
    templates = [
        (hit,),
        (hit, hit),
        (replace(hit, pairs=pairs + 1),),
        (replace(hit, name="2abc_A"),),  # ModelCIF names it
        *((replace(hit, structure=other),) for other in (moved, sparse, mutated)),
    ]
    rows = list(chain.alignment.texts)
    rows[1] = rows[1][:3] + "k" + rows[1][3:]
    changed = [
        replace(chain, ids=("B",)),
        replace(chain, sequence="X" + chain.sequence[1:]),
        replace(chain, alignment=None),
        replace(chain, alignment=None, paired=chain.alignment),
        replace(chain, alignment=Alignment.of(chain.alignment.headers, rows)),
        *(replace(chain, templates=hits) for hits in templates),
    ]
    queries = [replace(query, chains=(other,)) for other in changed]
    queries += [query, replace(query, paired_by_row=True)]

    def key(asked: object, seed: int = 0, **chosen: object) -> str:
        settings = Settings(**chosen)  # type: ignore[arg-type]
        features = stages.features_key(asked, network, seed, settings)  # type: ignore[arg-type]
        return stages.prediction_key(features, settings)

    keys = {key(each) for each in queries} | {key(query, 1)}
    keys |= {key(query, max_msa=(5, 0)), key(query, num_recycles=1), key(query, dropout=True)}
    assert len(keys) == len(queries) + 4
    assert key(query, device="cpu", force=True, relax="best") == key(query)
    path.write_bytes(b"other parameters")
    assert key(query) not in keys
