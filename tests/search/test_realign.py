"""Realignment of a hit to the chain of its structure, with each of the three programs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from foldry.errors import InputError, OutsideError
from foldry.search.realign import realigned

OLD = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV"
CHANGES = {
    "a tag": ("GSHHM" + OLD, [(each, each + 5) for each in range(70)]),
    "a part": (OLD[7:60], [(each, each - 7) for each in range(7, 60)]),
    "a deletion": (
        OLD[:30] + OLD[33:],
        [*((each, each) for each in range(30)), *((each, each - 3) for each in range(33, 70))],
    ),
    "a substitution": (OLD[:30] + "W" + OLD[31:], [(each, each) for each in range(70)]),
    "letters that Kalign does not know": (
        OLD[:30] + "JO" + OLD[32:],
        [(each, each) for each in range(70)],
    ),
}
"""The chain of the structure, and the pairs that follow from how it was made."""


@pytest.fixture(params=["package", "program", "Foldry"])
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The name of the only program that is installed."""
    if request.param != "package":
        monkeypatch.setitem(sys.modules, "kalign", None)
    if request.param == "program":
        if shutil.which("kalign") is None:
            pytest.skip("needs kalign (Debian: apt install kalign)")
        return "kalign"
    monkeypatch.setenv("PATH", str(tmp_path))
    return "kalign" if request.param == "package" else "Foldry"


@pytest.mark.tools
@pytest.mark.parametrize("change", CHANGES)
def test_each_program_finds_what_was_changed(
    change: str, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    new, expected = CHANGES[change]
    pairs, program = realigned(OLD, new)
    assert program == name
    np.testing.assert_array_equal(pairs, expected)
    assert capfd.readouterr() == ("", "")


@pytest.mark.tools
def test_a_tenth_of_the_shorter_sequence_may_differ(name: str) -> None:
    old = OLD[:40]
    changed = "".join("W" if each in (5, 12, 20, 33) else old[each] for each in range(40))
    assert len(realigned(old, changed)[0]) == 40
    other = "".join("W" if each in (5, 12, 20, 27, 33) else old[each] for each in range(40))
    with pytest.raises(InputError, match=r"another sequence .*88 % of it is equal"):
        realigned(old, other)


def test_short_and_very_long_sequences_are_refused() -> None:
    assert len(realigned(OLD[:6], OLD[:6])[0]) == 6
    for old, new in ((OLD[:5], OLD), (OLD, OLD[:5]), ("A" * 20_000, "A" * 20_000)):
        with pytest.raises(InputError, match="cannot be realigned"):
            realigned(old, new)


def test_a_failing_program_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "kalign", None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    program = tmp_path / "kalign"
    program.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(OutsideError, match=r"kalign failed \(no\)"):
        realigned(OLD, OLD[1:])
