"""Alignments of given templates with real chains: against MMseqs2 and against superposition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.chain_query import query_of, structure_of
from benchmarks.template_alignment import (
    aligned_pairs,
    pair_set,
    profile_of,
    superposed_pairs,
)

from foldry.dataset.packs import Library
from foldry.features.pipeline import make_features
from foldry.model.config import preset
from foldry.predict.stages import with_templates
from foldry.residues import GAP

DISTANT = 0.25
"""Identity below which the sequence alone finds fewer than half of the pairs."""


@pytest.fixture(scope="module")
def library(data_dir: Path) -> Library:
    return Library(data_dir, ("val",))


def test_the_pairs_of_mmseqs2_are_found(library: Library) -> None:
    """Two hits of each chain; MMseqs2 aligned them with the profile of the same rows."""
    shares: dict[bool, list[float]] = {True: [], False: []}
    for name in library.templates.place:
        profile = profile_of(library, name, "profile")
        for hit in library.hits(name)[::4][:2]:
            expected = pair_set(hit.pairs)
            found, is_related = aligned_pairs(profile, structure_of(library, hit.name))
            assert is_related
            assert hit.identity is not None
            shares[hit.identity < DISTANT].append(len(found & expected) / len(expected))
    assert min(map(len, shares.values())) > 25
    assert np.mean(shares[True]) >= 0.75
    assert np.mean(shares[False]) >= 0.9


def test_the_profile_finds_more_pairs_of_superposition_than_the_sequence(library: Library) -> None:
    pytest.importorskip("tmtools", reason="tmtools is not installed")
    found: list[list[int]] = []
    total = 0
    for name in library.templates.place:
        profiles = [profile_of(library, name, way) for way in ("profile", "sequence")]
        for hit in library.hits(name):
            assert hit.identity is not None
            if hit.identity < DISTANT and 2 * len(hit.pairs) > len(library.chain(name)):
                true = superposed_pairs(library.chain(name), library.chain(hit.name))
                template = structure_of(library, hit.name)
                ways = (aligned_pairs(profile, template)[0] for profile in profiles)
                found.append([len(pairs & true) for pairs in ways])
                total += len(true)
                break
    by_profile, by_sequence = np.array(found).T
    assert len(found) > 20
    assert by_profile.sum() > 1.3 * by_sequence.sum()
    assert (by_profile >= by_sequence).mean() > 0.85
    assert by_profile.sum() > 0.6 * total


def test_official_networks_read_aligned_hits_as_they_are_and_given_ones_by_profile(
    library: Library,
) -> None:
    config, number = preset("model_1_ptm").features, 0
    for name in library.templates.place:
        query = query_of(library, name, 20)
        [chain] = query.chains
        for hit in chain.templates:
            if hit.identity is None or hit.identity >= DISTANT or number == 5:
                continue
            number += 1
            as_hit, bare = (
                replace(query, chains=(replace(chain, templates=templates),))
                for templates in ((hit,), ())
            )
            assert with_templates(as_hit, ()) == as_hit
            read = make_features(as_hit, config, 0).templates
            laid = library.lay_hit(name, hit)
            assert read is not None
            np.testing.assert_array_equal(read.aatype[0], laid.aatype)
            np.testing.assert_array_equal(read.atom_positions[0], laid.positions)

            template = structure_of(library, hit.name)
            given = make_features(with_templates(bare, [template]), config, 0).templates
            found, _ = aligned_pairs(profile_of(library, name, "profile"), template)
            pairs = np.array(sorted(found))
            assert given is not None
            np.testing.assert_array_equal(np.flatnonzero(given.aatype[0] != GAP), pairs[:, 0])
            expected = template.atom_positions[pairs[:, 1]]
            np.testing.assert_array_equal(given.atom_positions[0][pairs[:, 0]], expected)
    assert number == 5
