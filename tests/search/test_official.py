"""The catalogue of official databases: complete, consistent, and on encrypted addresses."""

from __future__ import annotations

import re

import pytest

from foldry.search.databases import FASTA, HHSUITE, MMSEQS, NAME
from foldry.search.official import OFFICIAL, Official
from foldry.search.recipes import FULL, HHBLITS, JACKHMMER, REDUCED

KINDS = {JACKHMMER: FASTA, HHBLITS: HHSUITE}


def test_recipes_find_their_databases_of_the_right_kind() -> None:
    for recipe in (REDUCED, FULL):
        assert recipe.pairing is not None
        for step in (*recipe.steps, recipe.pairing):
            for name in step.databases:
                assert OFFICIAL[name].kind == KINDS[step.engine]
    others = {name: OFFICIAL[name].kind for name in OFFICIAL if name not in used()}
    assert others == {
        "pdb70": HHSUITE,
        "pdb_seqres": FASTA,
        "colabfold_uniref30": MMSEQS,
        "colabfold_envdb": MMSEQS,
    }


def used() -> set[str]:
    steps = [
        step for each in (REDUCED, FULL) for step in (*each.steps, each.pairing) if step is not None
    ]
    return {name for step in steps for name in step.databases}


@pytest.mark.parametrize("official", OFFICIAL.values(), ids=OFFICIAL)
def test_each_database_is_described(official: Official) -> None:
    assert OFFICIAL[official.name] is official
    assert NAME.fullmatch(official.name) and official.title.isprintable()
    assert official.kind in (FASTA, MMSEQS, HHSUITE)
    assert "/" not in official.path
    assert 10**8 < official.size < 10**12 and 1 <= official.ratio < 10
    for part in official.parts:
        for url in filter(None, (part.url, part.metalink)):
            assert re.fullmatch(r"https://[a-z0-9.-]+/[A-Za-z0-9._/~-]+", url)
        assert part.name.endswith(".tar.gz") is official.is_archived
    names = [part.name for part in official.parts]
    assert (official.path in names) is official.is_as_published
    assert official.path.endswith(".gz") is (names[0].endswith(".gz") and not official.is_archived)


def test_addresses_are_different() -> None:
    urls = [part.url for each in OFFICIAL.values() for part in each.parts]
    assert len({*urls}) == len(urls) == 12


def test_sizes_are_those_of_the_publisher() -> None:
    # AlphaFold's README.md: gigabytes to download and on the disk.
    sizes = {"bfd": (271.6, 1800), "uniref30": (52.5, 206), "pdb70": (19.5, 56)}
    for name, (download, disk) in sizes.items():
        official = OFFICIAL[name]
        assert official.size == pytest.approx(download * 1e9)
        assert official.size * official.ratio == pytest.approx(disk * 1e9)
