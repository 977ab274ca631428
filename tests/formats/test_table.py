"""CSV cells."""

from __future__ import annotations

import pytest

from foldry.formats.table import safe_cell


@pytest.mark.parametrize("first", "=+-@")
def test_text_that_spreadsheets_take_for_a_formula_gets_an_apostrophe(first: str) -> None:
    assert safe_cell(f"{first}1+1") == f"'{first}1+1"


@pytest.mark.parametrize("first", "\t\r\n\x1b\u2028\u202e")
def test_control_characters_become_escapes(first: str) -> None:
    shown = safe_cell(f"{first}=1")
    assert shown.isprintable() and shown.startswith("\\") and shown.endswith("=1")


@pytest.mark.parametrize("text", ["", "chain A", "a=b", "'", "2-3", " =1", "Å"])
def test_other_text_is_unchanged(text: str) -> None:
    assert safe_cell(text) == text
