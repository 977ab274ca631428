"""What checks every call of Foldry's functions against their types, shapes included, in tests."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

# As for mypy, an int is a float.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
