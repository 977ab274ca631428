"""OpenMM's expressions of vectors between four atoms, for energies of torsion angles.

The gradient of a torsion angle has a pole where three of its atoms are in a line, which happens in
models full of clashes, and OpenMM's minimiser stops there with large forces. The cosine and sine
below have none: products of vectors are divided by softened lengths of the two normals.
"""

from __future__ import annotations

from typing import Any, Final

_SOFTENED: Final = 4e-6
"""Term in nm⁴ added to the squared lengths (3e-4 to 5e-4) of the normals a × b and b × c, so that
cosine and sine are 0 instead of undefined if a normal vanishes."""


def _product(one: str, other: str) -> str:
    terms = " + ".join(f"{one}{axis}*{other}{axis}" for axis in "xyz")
    return f"{one}{other} = {terms}"


def vectors(*starts: int) -> str:
    """Return the definitions of a, b and c, which lead from these atoms to atoms 2, 3 and 4."""
    return "; ".join(
        f"{name}{axis} = {axis}{end} - {axis}{start}"
        for name, start, end in zip("abc", starts, (2, 3, 4), strict=True)
        for axis in "xyz"
    )


VOLUME: Final = "volume = ax*(by*cz - bz*cy) + ay*(bz*cx - bx*cz) + az*(bx*cy - by*cx)"
"""The volume a · (b × c)."""
TORSION: Final = "; ".join(
    (
        "cosine = (ab*bc - ac*bb) / size; sine = sqrt(bb) * volume / size",
        "size = sqrt(one * other)",
        f"one = aa*bb - ab*ab + {_SOFTENED}; other = bb*cc - bc*bc + {_SOFTENED}",
        *(_product(one, other) for one, other in ("aa", "bb", "cc", "ab", "bc", "ac")),
        VOLUME,
        vectors(1, 2, 3),
    )
)
"""The cosine and sine of the torsion angle of the four atoms."""


def force_of_four(energy: str, *terms: str) -> Any:
    """Return OpenMM's force with this energy in kJ/mol; the terms define its variables."""
    import openmm  # noqa: PLC0415

    return openmm.CustomCompoundBondForce(4, "; ".join((energy, *terms)))
