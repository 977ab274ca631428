"""AlphaFold's template searches and Foldry's on the same library: the same templates.

AlphaFold's half is its command lines with Debian's programs; the rules, which are Foldry's in both
halves, are compared with its recorded runs in `test_templates.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from foldry.formats.stockholm import (
    deduplicate_stockholm,
    remove_empty_columns,
    stockholm_to_a3m,
)
from foldry.query import Alignment
from foldry.search.databases import Database, inspect
from foldry.search.engine import Targets
from foldry.search.hhsearch import HHSearch
from foldry.search.hmmsearch import HmmSearch
from foldry.search.structures import StructureLibrary, inspect_structures
from foldry.search.template_input import template_input
from foldry.search.templates import Rules, Templates, choose
from foldry.search.templates_read import hits_of_hhr, hits_of_stockholm
from tests.search import template_world
from tests.search.hhsuite import build, need_hhsuite
from tests.search.template_world import HHSEARCH, World, jackhmmer, make_world, need, run

DATE = "2020-05-14"
RULES = (Rules(max_date=DATE), Rules(), Rules(max_hits=3))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    need("jackhmmer", "hmmbuild", "hmmsearch")
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def alignments(world: World) -> list[Alignment]:
    return [template_input(each) for each in world.alignments()]


@pytest.fixture(scope="module")
def library(world: World) -> StructureLibrary:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOLDRY_SEARCHES", str(world.folder / "searches"))
        return StructureLibrary.open(inspect_structures(world.folder / "structures"))


@pytest.fixture(scope="module")
def pdb70(world: World) -> Database:
    """Profiles of the relatives of the first query, of one without a file, and of others."""
    need_hhsuite()
    need("hhsearch")
    near = [name for name in world.chains if int(name[2:4]) < 18 or int(name[2:4]) > 56]
    texts = {name: f">{name.upper()} Made up\n{world.chains[name]}\n" for name in near}
    return inspect(build(world.folder / "pdb70", texts))


def check(ours: Templates, theirs: Templates) -> None:
    """Check that the templates are equal in everything that the files of the programs tell."""
    for one, other in zip(ours.hits, theirs.hits, strict=True):
        assert replace(one, e_value=None) == replace(other, e_value=None)
    assert ours.left_out == theirs.left_out


@pytest.mark.tools
@pytest.mark.slow
def test_templates_for_complexes(
    world: World, alignments: list[Alignment], library: StructureLibrary, tmp_path: Path
) -> None:
    found = list(HmmSearch((world.targets,), num_threads=2).hits(alignments))
    reasons = []
    for query, hits in zip(world.queries, found, strict=True):
        rows = remove_empty_columns(deduplicate_stockholm(jackhmmer(world, query, tmp_path)))
        text = template_world.hmmsearch(rows, world.targets, tmp_path)
        official = hits_of_stockholm(text, query)
        for each in RULES:
            rules = replace(each, unique_sequences=True)
            ours = choose(query, hits, library, rules)
            check(ours, choose(query, official, library, rules))
            reasons += [left_out.reason for left_out in ours.left_out]
        if query != world.queries[-1]:
            assert len(choose(query, hits, library, RULES[0]).hits) > 8
    for part in (
        "was released on 2021-03-01, after 2020-05-14",
        "of the query (",
        "is nearly the whole query itself",
        "has the same residues at the same places as",
        "has no file with its structure",
    ):
        assert any(part in reason for reason in reasons), part


@pytest.mark.tools
@pytest.mark.slow
def test_templates_for_single_chains(
    world: World,
    alignments: list[Alignment],
    library: StructureLibrary,
    pdb70: Database,
    tmp_path: Path,
) -> None:
    query = world.queries[0]
    [hits] = HHSearch((pdb70,)).hits(alignments[:1])
    text = jackhmmer(world, query, tmp_path)
    rows = tmp_path / "query.a3m"
    rows.write_text(stockholm_to_a3m(remove_empty_columns(deduplicate_stockholm(text))))
    run(HHSEARCH, query=rows, out=tmp_path / "out.hhr", database=pdb70.path)
    official = hits_of_hhr((tmp_path / "out.hhr").read_text())
    reasons = []
    for each in RULES:
        rules = replace(each, by_sum_probs=True)
        ours, theirs = (choose(query, found, library, rules) for found in (hits, official))
        check(ours, theirs)
        assert [hit.e_value for hit in ours.hits] == [hit.e_value for hit in theirs.hits]
        assert len(ours.hits) == rules.max_hits or len(ours.hits) > 6
        reasons += [left_out.reason for left_out in ours.left_out]
    assert any("was released on 2021-03-01" in reason for reason in reasons)
    assert any("is nearly the whole query itself" in reason for reason in reasons)


@pytest.mark.slow
def test_the_librarys_own_sequences(
    world: World, alignments: list[Alignment], library: StructureLibrary
) -> None:
    """They have all chains of `pdb_seqres` but that without a file and that which is no protein."""
    own = Targets(library.fasta, "structures", library.version)
    for query, ours, theirs in zip(
        world.queries,
        HmmSearch((own,)).hits(alignments),
        HmmSearch((world.targets,)).hits(alignments),
        strict=True,
    ):
        one, other = (choose(query, hits, library, Rules(DATE)) for hits in (ours, theirs))
        assert [each.name for each in one.hits] == [each.name for each in other.hits]
