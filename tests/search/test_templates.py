"""Which hits become templates: the recorded runs of the official pipeline, and each rule alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldry.errors import InputError, MemoryShortError, MissingError
from foldry.features.templates import template_features, template_features_of_complex
from foldry.formats.coordinates import Deposition, read_deposition
from foldry.query import Chain, Hit
from foldry.residues import GAP, HHBLITS_ORDER, RESTYPE_ORDER
from foldry.search.hits import AlignedHit
from foldry.search.templates import Rules, Templates, choose
from foldry.search.templates_read import hits_of_hhr, hits_of_stockholm
from tests.conftest import parity_root
from tests.features.test_templates import structure

HHBLITS_TO_OURS = np.array([RESTYPE_ORDER.get(letter, GAP) for letter in HHBLITS_ORDER])
ENTRY = "2crb"
LISTED = "2999-01-01"
"""Date of the release in lists that the recordings name but do not contain."""
MISALIGNED = {"template_realigned": [46]}
"""The one known difference: where Kalign leaves a residue of the hit without partner, the official
program takes the chain's last residue, by the index −1."""
SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV"
HIT = SEQUENCE.replace("S", "A")
"""A relative of the query, in which no rule finds a fault."""


@dataclass
class Entries:
    """A library in memory."""

    files: Mapping[str, Deposition] = field(default_factory=dict)
    replaced: Mapping[str, str | None] = field(default_factory=dict)
    dates: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, Exception] = field(default_factory=dict)
    num_read: int = 0

    def successor(self, entry: str) -> str | None:
        return self.replaced.get(entry, entry)

    def listed_date(self, entry: str) -> str | None:
        return self.dates.get(entry)

    def read(self, entry: str) -> Deposition:
        self.num_read += 1
        if entry in self.errors:
            raise self.errors[entry]
        if entry not in self.files:
            raise MissingError(f"There is no {entry}")
        return self.files[entry]


def deposited(sequences: Mapping[str, str], released: str = "2005-11-20") -> Deposition:
    """Chains of Cα on a line, which are enough for every rule."""
    chains = {name: structure(each, name, name) for name, each in sequences.items()}
    return Deposition(released, 1.5, "x-ray diffraction", False, "", dict(sequences), chains)


def hit(name: str = "1abc_A", letters: str = HIT, num_pairs: int | None = None) -> AlignedHit:
    """A hit that is aligned to the first residues of the query without gaps."""
    count = len(letters) if num_pairs is None else num_pairs
    return AlignedHit(name, np.repeat(np.arange(count)[:, None], 2, axis=1), letters)


def chosen(
    found: Sequence[AlignedHit],
    library: Entries | None = None,
    query: str = SEQUENCE,
    **rules: object,
) -> Templates:
    library = library or Entries({"1abc": deposited({"A": HIT})})
    return choose(query, found, library, Rules(**rules))  # type: ignore[arg-type]


def reason(found: AlignedHit, library: Entries | None = None, **rules: object) -> str:
    """Why a hit is left out; it is a template if the rule is not broken."""
    templates = chosen([found], library, **rules)  # type: ignore[arg-type]
    assert not templates.hits
    [left_out] = templates.left_out
    assert left_out.name == found.name
    return left_out.reason


# Recorded runs of the official pipeline


@dataclass(frozen=True)
class Run:
    """What the official pipeline was given and computed for one chain."""

    name: str
    query: str
    settings: Mapping[str, str]
    arrays: Mapping[str, np.ndarray]
    hits: str
    is_hhr: bool

    def text(self, key: str) -> str:
        return self.arrays[key].tobytes().decode() if key in self.arrays else ""

    @property
    def found(self) -> list[AlignedHit]:
        if self.is_hhr:
            return hits_of_hhr(self.text(self.hits))
        return hits_of_stockholm(self.text(self.hits), self.query)

    @property
    def templates(self) -> Templates:
        rules = Rules(
            max_date=self.settings.get("date"),
            by_sum_probs=self.is_hhr,
            unique_sequences=not self.is_hhr,
        )
        return choose(self.query, self.found, self.library, rules)

    @property
    def library(self) -> Entries:
        """2crb, and the parts of it that the sequence database names as other entries."""
        whole = official_entry()
        replaced: dict[str, str | None] = {}
        for line in self.text("input/obs.dat").splitlines():
            if line.startswith("OBSLTE"):
                old, *new = line.lower().split()[2:]
                replaced[old] = new[0] if new else None
        files = {ENTRY: whole}
        for record in self.text("input/seqres.txt").split(">")[1:]:
            header, sequence = record.split("\n", 1)
            entry, part = header[:4], "".join(sequence.split())
            if entry not in {ENTRY, *replaced}:
                begin = whole.chain_to_seqres["A"].index(part)
                rows = whole.chains["A"].select(np.arange(begin, begin + len(part)))
                files[entry] = replace(whole, chain_to_seqres={"A": part}, chains={"A": rows})
        dates = {}
        if name := self.settings.get("release"):
            lines = self.text(f"input/{name}") or f"{ENTRY}: {LISTED}"
            dates = dict(line.replace(" ", "").split(":") for line in lines.splitlines())
        return Entries(files, replaced, dates)


@cache
def official_entry() -> Deposition:
    return read_deposition(parity_root() / "data" / f"{ENTRY}.cif.gz")


def runs() -> list[Run]:
    found = []
    for path in sorted((parity_root() / "search").glob("*.npz")):
        with np.load(path) as archive:
            arrays = dict(archive)
        queries = arrays["query"].item().decode().split(":")
        settings = json.loads(arrays["settings"].item())
        for key in sorted(key for key in arrays if "/pdb_hits." in key):
            chain = key.split("/")[1] if len(queries) > 1 else "A"
            query = queries["ABCDEFGH".index(chain)]
            found.append(Run(path.stem, query, settings, arrays, key, key.endswith(".hhr")))
    return found


def single_runs() -> list[Run]:
    return [run for run in runs() if "template_domain_names" in run.arrays]


@pytest.mark.parity
@pytest.mark.parametrize("run", single_runs(), ids=lambda run: run.name)
def test_templates_are_the_official_ones(run: Run) -> None:
    templates = run.templates
    official = [name.decode() for name in run.arrays["template_domain_names"].tolist()]
    if official in ([], [""]):  # the official program writes one empty template
        assert templates.hits == ()
        assert not run.arrays["template_all_atom_masks"].any()
        return
    assert [each.name for each in templates.hits] == official
    probabilities = {each.name: each.sum_probs or 0 for each in run.found}
    ours = np.array([[probabilities.get(name, 0)] for name in official], np.float32)
    np.testing.assert_array_equal(ours, run.arrays["template_sum_probs"])
    features = template_features(run.query, templates.hits, len(official))
    differs = np.array([misaligned(run, each) for each in templates.hits])
    for values, key in (
        (features.aatype, "template_aatype"),
        (features.atom_positions, "template_all_atom_positions"),
        (features.atom_mask, "template_all_atom_masks"),
        (np.array([letters(run.query, each) for each in templates.hits]), "template_sequence"),
    ):
        theirs = run.arrays[key]
        if key == "template_aatype":
            theirs = HHBLITS_TO_OURS[theirs.argmax(-1)]
        if key == "template_sequence":
            theirs = np.array([list(each.decode()) for each in theirs.tolist()])
        np.testing.assert_array_equal(values[~differs], theirs[~differs])
    if run.name in MISALIGNED:
        assert np.argwhere(differs)[:, 1].tolist() == MISALIGNED[run.name]


def letters(query: str, template: Hit) -> list[str]:
    row = ["-"] * len(query)
    for here, there in template.pairs.tolist():
        row[here] = template.known_structure().sequence[there]
    return row


def misaligned(run: Run, template: Hit) -> np.ndarray:
    """The residues of the query to which the official program gives the chain's last residue.

    It does so in realigned hits alone, and the recording has to show it.
    """
    [found] = [each for each in run.found if each.name == template.name] or [None]
    differs = np.zeros(len(run.query), bool)
    if found is None or not template.how.startswith("realigned"):
        return differs
    differs[np.setdiff1d(found.pairs[:, 0], template.pairs[:, 0])] = True
    row = [name.decode() for name in run.arrays["template_domain_names"]].index(template.name)
    last = template.known_structure().select(np.array([-1]))
    for residue in np.flatnonzero(differs):
        assert run.arrays["template_sequence"][row].decode()[residue] == last.sequence
        theirs = run.arrays["template_all_atom_positions"][row, residue]
        np.testing.assert_array_equal(theirs, last.atom_positions[0].astype(np.float32))
    return differs


@pytest.mark.parity
def test_the_recordings_have_hits_of_both_programs_and_a_known_difference() -> None:
    recorded = single_runs()
    if not recorded:
        pytest.skip("no recorded searches here")
    assert {run.is_hhr for run in recorded if run.found} == {False, True}
    assert {*MISALIGNED} <= {run.name for run in recorded}
    assert max(len(run.templates.hits) for run in recorded) == 20


@pytest.mark.parity
def test_templates_of_complexes_are_the_official_ones() -> None:
    names = {run.name for run in runs() if "template_domain_names" not in run.arrays}
    for name in names:
        parts = [run for run in runs() if run.name == name]
        chains = [
            Chain((id_,), run.query, templates=run.templates.hits)
            for id_, run in zip("ABCDEFGH", parts, strict=False)
        ]
        arrays = parts[0].arrays
        features = template_features_of_complex(chains, len(arrays["template_aatype"]))
        np.testing.assert_array_equal(features.aatype, arrays["template_aatype"])
        np.testing.assert_array_equal(features.atom_mask, arrays["template_all_atom_mask"])
        theirs = arrays["template_all_atom_positions"]
        np.testing.assert_array_equal(features.atom_positions, theirs)


# Each rule alone


def test_a_hit_becomes_a_template_with_all_that_is_known_of_it() -> None:
    found = replace(hit(), e_value=1e-9, probability=0.9)
    templates = chosen([found])
    [template] = templates.hits
    assert templates.left_out == ()
    assert template.name == "1abc_A" and template.known_structure().name == "1abc_A"
    assert template.known_structure().sequence == HIT
    np.testing.assert_array_equal(template.pairs, found.pairs)
    assert (template.e_value, template.probability) == (1e-9, 0.9)
    assert template.identity == 1 - SEQUENCE.count("S") / len(SEQUENCE)
    assert template.coverage == 1
    assert template.release_date == "2005-11-20"
    assert template.how == "same chain"


@pytest.mark.parametrize("source", ["list", "file"])
def test_the_limit_of_the_date_includes_its_day(source: str) -> None:
    library = Entries({"1abc": deposited({"A": HIT})})
    if source == "list":
        library = replace(library, dates={"1abc": "2005-11-20"})
        library = replace(library, files={"1abc": deposited({"A": HIT}, "2001-01-01")})
    assert chosen([hit()], library, max_date="2005-11-20").hits
    said = reason(hit(), library, max_date="2005-11-19")
    assert said == "was released on 2005-11-20, after 2005-11-19"
    assert library.num_read == (1 if source == "list" else 2)


def test_a_structure_without_date_is_no_template_if_there_is_a_limit() -> None:
    library = Entries({"1abc": deposited({"A": HIT}, "")})
    [template] = chosen([hit()], library).hits
    assert template.release_date is None
    assert reason(hit(), library, max_date="2005-11-20") == "has an unknown date of release"


@pytest.mark.parametrize("date", ["", "2020", "20200101", "2020-1-1", "2020-02-30", 2020])
def test_a_limit_that_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(InputError, match="max_template_date"):
        Rules(max_date=date)


def test_a_hit_covers_more_than_a_tenth_of_the_query() -> None:
    query = SEQUENCE + "G" * (100 - len(SEQUENCE))
    assert chosen([hit(num_pairs=11)], query=query).hits
    [left_out] = chosen([hit(num_pairs=10)], query=query).left_out
    assert left_out.reason == "covers 10 % of the query (10 of 100 residues)"


def test_a_hit_that_is_the_query_itself_is_no_template() -> None:
    size = int(0.95 * len(SEQUENCE))  # the largest share that is allowed
    library = Entries({"1abc": deposited({"A": SEQUENCE})})
    assert chosen([hit(letters=SEQUENCE[:size])], library).hits
    said = reason(hit(letters=SEQUENCE[: size + 1]), library)
    assert said == "is nearly the whole query itself"
    other = "W" + SEQUENCE[1:]
    assert chosen([hit(letters=other)], Entries({"1abc": deposited({"A": other})})).hits


def test_a_hit_has_ten_residues() -> None:
    query = SEQUENCE[:40]
    assert chosen([hit(letters=HIT[:10], num_pairs=9)], query=query).hits
    [left_out] = chosen([hit(letters=HIT[:9])], query=query).left_out
    assert left_out.reason == "has only 9 residues"


def test_obsolete_entries_are_followed_to_the_last_one() -> None:
    library = Entries({"3new": deposited({"A": HIT})}, replaced={"1abc": "3new"})
    [template] = chosen([hit()], library).hits
    assert template.name == "3new_A"
    assert reason(hit(), replace(library, replaced={"1abc": None})).startswith("is obsolete")


def test_an_obsolete_entry_with_a_date_is_not_replaced() -> None:
    files = {"1abc": deposited({"A": HIT}), "3new": deposited({"A": HIT})}
    library = Entries(files, {"1abc": "3new"}, {"1abc": "2005-11-20"})
    assert [each.name for each in chosen([hit()], library).hits] == ["1abc_A"]


def test_missing_and_damaged_files_are_left_out() -> None:
    damaged = InputError("has no atoms", "give another file", where="2def.cif")
    library = Entries({"1abc": deposited({"A": HIT})}, errors={"2def": damaged})
    templates = chosen([hit("9xyz_A"), hit("2def_A"), hit()], library)
    assert [each.name for each in templates.hits] == ["1abc_A"]
    assert [(each.name, each.reason) for each in templates.left_out] == [
        ("9xyz_A", "has no file with its structure"),
        ("2def_A", "cannot be read, as its file has no atoms"),
    ]


def test_a_lack_of_memory_is_no_reason_to_leave_a_hit_out() -> None:
    with pytest.raises(MemoryShortError):
        chosen([hit()], Entries(errors={"1abc": MemoryShortError("needs more memory")}))


def test_another_chain_is_taken_if_only_it_has_the_sequence() -> None:
    both = Entries({"1abc": deposited({"A": "G" * 80, "B": "GG" + HIT})})
    [template] = chosen([hit()], both).hits
    assert template.name == "1abc_B"
    assert template.how == "another chain with the same sequence"
    assert template.pairs[0].tolist() == [0, 2]
    equal = Entries({"1abc": deposited({"C": HIT, "A": HIT, "D": HIT})})
    templates = chosen([hit("1abc_A"), hit("1abc_D"), hit("1abc_B")], equal).hits
    assert [(each.name, each.how) for each in templates] == [
        ("1abc_A", "same chain"),
        ("1abc_D", "same chain"),
        ("1abc_C", "another chain with the same sequence"),
    ]


def test_unknown_residues_match_any_letter() -> None:
    seen = HIT[:20] + "X" + HIT[21:]
    [template] = chosen([hit()], Entries({"1abc": deposited({"A": "W" * 70, "C": seen})})).hits
    assert template.name == "1abc_C"
    assert template.how == "a chain that differs only in unknown residues"
    assert template.known_structure().sequence == HIT  # the official program reads the hit's
    [template] = chosen([hit(letters=seen)], Entries({"1abc": deposited({"A": HIT})})).hits
    assert template.known_structure().sequence == seen


def test_a_changed_chain_is_realigned_and_residues_without_partner_are_left_out() -> None:
    changed = "GGS" + HIT[:30] + HIT[32:]
    [template] = chosen([hit()], Entries({"1abc": deposited({"A": changed})})).hits
    assert template.how == "realigned by kalign"
    expected = [[each, each + 3] for each in range(30)]
    expected += [[each, each + 1] for each in range(32, len(HIT))]
    assert template.pairs.tolist() == expected
    assert template.coverage == (len(HIT) - 2) / len(SEQUENCE)


def test_what_cannot_be_realigned_is_left_out() -> None:
    other = Entries({"1abc": deposited({"A": HIT[::-1]})})
    assert "is another sequence than that of the hit" in reason(hit(), other)
    assert reason(hit("1abc_Z"), Entries({"1abc": deposited({"A": HIT[1:]})})) == (
        "has no chain Z in its file"
    )
    short = Entries({"1abc": deposited({"A": HIT[:5]})})
    assert reason(hit(), short).startswith("has 5 residues, which cannot be realigned")


def test_a_template_has_atoms_where_it_is_aligned() -> None:
    for count, is_template in ((5, True), (4, False)):
        whole = deposited({"A": HIT})
        mask = np.zeros_like(whole.chains["A"].atom_mask)
        mask[:count] = whole.chains["A"].atom_mask[:count]
        chain = replace(whole.chains["A"], atom_mask=mask)
        library = Entries({"1abc": replace(whole, chains={"A": chain})})
        if is_template:
            assert chosen([hit()], library).hits
        else:
            said = reason(hit(), library)
            assert said == "has no coordinates where it is aligned to the query"


def test_a_hit_on_residues_that_the_query_lacks_is_left_out() -> None:
    beyond = replace(hit(), pairs=hit().pairs + np.array([[1, 0]]))
    assert reason(beyond) == "is aligned to a residue that does not exist"


def test_a_torn_chain_is_no_template() -> None:
    for step, is_template in ((149, True), (151, False)):
        whole = deposited({"A": HIT})
        positions = whole.chains["A"].atom_positions.copy()
        positions[60:, :, 0] += step - 3.8
        chain = replace(whole.chains["A"], atom_positions=positions)
        library = Entries({"1abc": replace(whole, chains={"A": chain})})
        if is_template:
            assert chosen([hit()], library).hits
        else:
            assert reason(hit(), library) == "has residue 61 more than 150 Å from the previous one"


# Order and caps


def many(count: int) -> tuple[list[AlignedHit], Entries]:
    """Hits of different length, whose probabilities rise and then are equal."""
    found = [
        replace(hit(f"{1000 + n}_A", HIT[: 20 + n]), sum_probs=float(min(n, 5)))
        for n in range(count)
    ]
    return found, Entries({each.name[:4]: deposited({"A": each.sequence}) for each in found})


def test_hits_keep_the_order_of_the_search_or_are_sorted_by_their_probabilities() -> None:
    found, library = many(8)
    names = [each.name for each in found]
    assert [each.name for each in chosen(found, library).hits] == names
    ordered = [each.name for each in chosen(found, library, by_sum_probs=True).hits]
    assert ordered == [*names[5:], *names[4::-1]]


def test_no_more_hits_are_read_than_there_are_templates() -> None:
    found, library = many(25)
    templates = chosen([hit("9xyz_A"), *found], library)
    assert [each.name for each in templates.hits] == [each.name for each in found[:20]]
    assert [each.name for each in templates.left_out] == ["9xyz_A"]
    assert library.num_read == 21
    assert len(chosen(found, library, max_hits=3).hits) == 3
    assert chosen(found, library, max_hits=0).hits == ()


def test_equal_templates_count_once_if_that_is_asked() -> None:
    found = [hit("1abc_A"), hit("1abc_B"), hit("1abc_A", num_pairs=30)]
    library = Entries({"1abc": deposited({"A": HIT, "B": HIT})})
    assert len(chosen(found, library).hits) == 3
    assert library.num_read == 1
    templates = chosen(found, library, unique_sequences=True)
    assert [(each.name, len(each.pairs)) for each in templates.hits] == [
        ("1abc_A", len(HIT)),
        ("1abc_A", 30),
    ]
    [left_out] = templates.left_out
    assert left_out.name == "1abc_B"
    assert left_out.reason == "has the same residues at the same places as 1abc_A"


def test_other_letters_and_the_same_letters_elsewhere_are_other_templates() -> None:
    moved = replace(hit(num_pairs=60), pairs=hit(num_pairs=60).pairs + np.array([[1, 0]]))
    other = "W" + HIT[1:60]
    library = Entries({"1abc": deposited({"A": HIT, "B": other})})
    found = [hit(num_pairs=60), moved, hit("1abc_B", other)]
    assert len(chosen(found, library, unique_sequences=True).hits) == 3


def test_equal_templates_do_not_count_for_the_maximum() -> None:
    found = [hit("1abc_A"), hit("1abc_A"), hit("1abc_A", num_pairs=30)]
    templates = chosen(found, max_hits=2, unique_sequences=True)
    assert [len(each.pairs) for each in templates.hits] == [len(HIT), 30]


@st.composite
def alignments(draw: st.DrawFn) -> tuple[str, AlignedHit, str, int]:
    """A query, a hit on it with gaps and insertions, and a chain that has the hit's letters."""
    letter = st.sampled_from("ARNDCQEGHILKMFPSTWYV")
    query = "".join(draw(st.lists(letter, min_size=30, max_size=60)))
    letters, pairs, here = "", [], draw(st.integers(0, 5))
    while here < len(query):
        step = draw(st.sampled_from("MMMMMMID"))
        if step != "D" or not letters:
            if step == "M":
                pairs.append((here, len(letters)))
            letters += draw(letter)
        here += step != "I"
    before = "".join(draw(st.lists(letter, max_size=9)))
    after = "".join(draw(st.lists(letter, max_size=9)))
    return query, AlignedHit("1abc_A", np.array(pairs).reshape(-1, 2), letters), before, len(after)


@given(alignments())
def test_pairs_lead_to_the_letters_of_the_hit(drawn: tuple[str, AlignedHit, str, int]) -> None:
    query, found, before, num_after = drawn
    library = Entries({"1abc": deposited({"A": before + found.sequence + "W" * num_after})})
    for template in chosen([found], library, query=query).hits:
        chain = template.known_structure().sequence
        assert [chain[there] for there in template.pairs[:, 1]] == [
            found.sequence[there] for there in found.pairs[:, 1]
        ]
        np.testing.assert_array_equal(template.pairs[:, 0], found.pairs[:, 0])


@given(alignments(), st.data())
def test_realigned_pairs_rise_and_belong_to_the_hit(
    drawn: tuple[str, AlignedHit, str, int], data: st.DataObject
) -> None:
    query, found, before, num_after = drawn
    residues = list(before + found.sequence + "W" * num_after)
    for place in data.draw(st.lists(st.integers(0, len(residues) - 1), max_size=3)):
        residues[place] = data.draw(st.sampled_from(["", "A", "WC"]))
    library = Entries({"1abc": deposited({"A": "".join(residues)})})
    for template in chosen([found], library, query=query).hits:
        assert (np.diff(template.pairs, axis=0) > 0).all()
        assert {*template.pairs[:, 0].tolist()} <= {*found.pairs[:, 0].tolist()}
        assert template.pairs[:, 1].max() < len("".join(residues))
