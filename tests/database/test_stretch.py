"""Parts of sequences, against a search letter by letter."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from foldry.database.stretch import is_related, place_in
from tests.database.deposits import sequence

LETTERS = st.text("AGX", max_size=12)


@given(LETTERS.filter(bool), LETTERS.map(lambda text: text.replace("X", "G")))
@example("AXA", "GAGAGA")
@example("XX", "AG")
def test_places_are_those_of_a_slow_search(part: str, whole: str) -> None:
    places = [
        begin + 1
        for begin in range(len(whole) - len(part) + 1)
        if all(one in ("X", whole[begin + n]) for n, one in enumerate(part))
    ]
    is_certain = len(places) == 1 and set(part) != {"X"}
    assert place_in(part, whole) == (places[0] if is_certain else None)


def test_what_is_related() -> None:
    whole = sequence(1, 300)
    part = whole[20:270]
    changed = "".join("A" if n % 30 == 0 else letter for n, letter in enumerate(part))
    for related in (whole, part, changed, "MGSSHHHHHHSSGLVPRGSH" + part, part.replace("C", "X")):
        assert is_related(related, whole) and is_related(whole, related)
    for seed in range(2, 12):
        assert not is_related(sequence(seed, 300), whole)
    assert not is_related("MKTAYIAK", whole)
