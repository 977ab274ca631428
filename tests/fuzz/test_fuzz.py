"""Damaged files of every kind are refused in one sentence, quickly and with little memory."""

from __future__ import annotations

import pytest

from tests.fuzz.readers import READERS
from tests.fuzz.run import MAX_BYTES, MAX_SECONDS, fuzz

MUTATIONS = 500


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_read_or_refused(reader: str) -> None:
    tally = fuzz(reader, MUTATIONS)
    assert tally.faults == []
    assert tally.read + tally.refused == MUTATIONS
    assert tally.seconds < MAX_SECONDS and tally.bytes < MAX_BYTES
    # Mutators that damage nothing, or every file beyond recognition, would prove nothing.
    assert tally.read > 0
    assert tally.refused > 0 or not READERS[reader].errors
