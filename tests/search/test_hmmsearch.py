"""hmmbuild and hmmsearch in this process: the hits of the programs, whatever the blocks."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldry.errors import InputError, MissingError
from foldry.formats.stockholm import (
    deduplicate_stockholm,
    parse_stockholm,
    remove_empty_columns,
    to_stockholm,
    truncate_stockholm,
)
from foldry.query import Alignment, Source
from foldry.search import hmmsearch
from foldry.search.engine import Targets
from foldry.search.hits import AlignedHit
from foldry.search.hmmsearch import HmmSearch, HmmSearchSettings
from foldry.search.template_input import template_input
from foldry.search.templates_read import hits_of_stockholm
from tests.conftest import parity_root
from tests.search import template_world
from tests.search.template_world import NO_PROTEIN, World, jackhmmer, make_world, need


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def alignments(world: World) -> list[Alignment]:
    return [template_input(each) for each in world.alignments()]


def values(hits: list[AlignedHit]) -> list[tuple[object, ...]]:
    """What files of HMMER tell of hits, in their order."""
    return [(h.name, h.title, h.begin, h.sequence, h.pairs.tolist()) for h in hits]


@pytest.mark.tools
def test_the_hits_are_those_of_the_official_calls(
    world: World, alignments: list[Alignment], tmp_path: Path
) -> None:
    need("jackhmmer", "hmmbuild", "hmmsearch")
    found = list(HmmSearch((world.targets,), num_threads=2, block=13).hits(alignments))
    for query, hits in zip(world.queries, found, strict=True):
        rows = remove_empty_columns(deduplicate_stockholm(jackhmmer(world, query, tmp_path)))
        text = template_world.hmmsearch(rows, world.targets, tmp_path)
        assert NO_PROTEIN in text or query != world.queries[0]
        assert values(hits) == values(hits_of_stockholm(text, query))
    assert [len(hits) > 20 for hits in found] == [True, True, False]
    assert len({hit.name for hit in found[0]}) < len(found[0]), "a chain has two domains"


def recorded() -> list[tuple[Path, str]]:
    """The recorded runs of hmmsearch whose sequence database is known, and the hits' names."""
    found = []
    for path in sorted((parity_root() / "search").glob("*.npz")):
        with np.load(path) as archive:
            if "input/seqres.txt" in archive.files:
                found += [(path, key) for key in archive.files if key.endswith("/pdb_hits.sto")]
    return found


@pytest.mark.parity
@pytest.mark.parametrize(
    ("path", "key"), recorded(), ids=lambda each: each.stem if isinstance(each, Path) else each
)
def test_the_hits_are_those_of_the_official_pipeline(path: Path, key: str, tmp_path: Path) -> None:
    with np.load(path) as archive:
        rows = archive[key.replace("pdb_hits", "uniref90_hits")].tobytes().decode()
        seqres, text = (archive[each].tobytes() for each in ("input/seqres.txt", key))
        settings = json.loads(archive["settings"].item())
    fasta = tmp_path / "seqres.txt"
    fasta.write_bytes(seqres)
    alignment = parse_stockholm(truncate_stockholm(rows, settings["uniref_max_hits"]))
    [hits] = HmmSearch((Targets(fasta, "a", "1"),)).hits([template_input(alignment)])
    assert values(hits) == values(hits_of_stockholm(text.decode(), alignment.query))


@pytest.mark.tools
@pytest.mark.parametrize(
    "rows",
    [
        ["M"],
        ["MK"],
        ["X"],
        ["XXXXX"],
        ["MKUOBZJ"],
        ["MKTAYIAKQRQISFVKSHFSRQ"],
        ["MKTAYIAKQRQISFVKSHFSRQ", "ggMKTAYIA----ISFVwwKSHFSRQaaa", "-----------ISFV-------"],
        ["X" * 30, "-" * 29 + "A"],
    ],
)
def test_any_alignment(rows: list[str], world: World, tmp_path: Path) -> None:
    need("hmmbuild", "hmmsearch")
    alignment = Alignment.of(["q"] * len(rows), rows)
    [hits] = HmmSearch((world.targets,)).hits([alignment])
    text = template_world.hmmsearch(to_stockholm(alignment), world.targets, tmp_path)
    assert values(hits) == values(hits_of_stockholm(text, rows[0]))


def test_blocks_files_and_threads_do_not_change_what_is_found(
    world: World, alignments: list[Alignment], tmp_path: Path
) -> None:
    targets = world.targets
    whole = list(HmmSearch((targets,)).hits(alignments))
    for hits in whole:
        e_values = [hit.e_value or 0 for hit in hits]
        assert e_values == sorted(e_values) and e_values[-1] <= 100
    records = targets.fasta.read_text().split(">")[1:]
    parts = []
    for number, part in enumerate((records[:30], records[30:])):
        path = tmp_path / f"{number}.fasta.gz"
        path.write_bytes(gzip.compress("".join(f">{record}" for record in part).encode()))
        parts.append(Targets(path, str(number), "1"))
    for engine in (
        HmmSearch((targets,), block=1, num_threads=2),
        HmmSearch((targets,), block=17),
        HmmSearch(tuple(parts), block=20),
    ):
        again = list(engine.hits(alignments))
        assert [values(hits) for hits in again] == [values(hits) for hits in whole]
        for ours, theirs in zip(again, whole, strict=True):
            np.testing.assert_allclose(
                [hit.e_value or 0 for hit in ours], [hit.e_value or 0 for hit in theirs], rtol=1e-12
            )


def test_letters_and_pairs_of_a_hit(world: World, alignments: list[Alignment]) -> None:
    [hits, *_] = HmmSearch((world.targets,)).hits(alignments[:1])
    assert any(np.diff(hit.pairs, axis=0).max() > 1 for hit in hits), "with gaps"
    for hit in hits:
        chain = world.chains[hit.name]
        assert chain[hit.begin : hit.begin + len(hit.sequence)] == hit.sequence
        assert hit.title == f"mol:protein length:{len(chain)}  PROTEIN OF {hit.name}"
        assert (hit.pairs >= 0).all() and (np.diff(hit.pairs, axis=0) > 0).all()
        assert (hit.pairs[-1] < [len(world.queries[0]), len(hit.sequence)]).all()
        assert (hit.sum_probs, hit.probability) == (None, None)


def test_headers_that_do_not_say_what_they_are(world: World, tmp_path: Path) -> None:
    path = tmp_path / "a.fasta"
    query = world.queries[0]
    headers = ("mine", "two_A  words", "dna_A mol:na", "\xe9_B mol:protein x")
    path.write_text("".join(f">{header}\n{query}\n" for header in headers))
    rows = Alignment.of(["ss_pred", "#=GC", "//"], [query, query.replace("A", "-"), query])
    [hits] = HmmSearch((Targets(path, "a", "1"),)).hits([rows])
    assert {(hit.name, hit.title) for hit in hits} == {
        ("mine", ""),
        ("two_A", "words"),
        ("\xe9_B", "mol:protein x"),
    }


def test_no_alignment_and_no_chain(world: World, tmp_path: Path) -> None:
    assert list(HmmSearch((world.targets,)).hits([])) == []
    rows = Alignment.of(["q"], [world.queries[0]])
    assert list(HmmSearch(()).hits([rows, rows])) == [[], []]


def test_files_that_cannot_be_read(world: World, tmp_path: Path) -> None:
    rows = Alignment.of(["q"], [world.queries[0]])
    path = tmp_path / "a.fasta"
    with pytest.raises(MissingError, match=r"a\.fasta does not exist"):
        list(HmmSearch((Targets(path, "a", "1"),)).hits([rows]))
    path.write_text("no FASTA")
    with pytest.raises(InputError, match=r"a\.fasta cannot be read as FASTA"):
        list(HmmSearch((Targets(path, "a", "1"),)).hits([rows]))


def test_the_key_of_what_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = HmmSearch((world.targets,))
    assert engine.source == Source("hmmsearch", "pdb_seqres")
    elsewhere = replace(world.targets, fasta=Path("/elsewhere"), name="other")
    assert engine.identity == HmmSearch((elsewhere,), num_threads=4, block=5).identity
    newer: Callable[[str], str] = lambda _: "0.0.1"  # noqa: E731
    others = [
        HmmSearch((replace(world.targets, version="2"),)).identity,
        HmmSearch((world.targets, world.targets)).identity,
        replace(engine, settings=HmmSearchSettings(E=10)).identity,
    ]
    monkeypatch.setattr(hmmsearch, "version", newer)
    assert len({engine.identity, *others}) == 4
