"""Atoms of one or more protein chains, from experiment or prediction, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.errors import InputError, counted, quoted
from foldry.residues import RESTYPES_WITH_X
from foldry.store.hashes import Content

STRUCTURE_ADVICE: Final = "read a file with `foldry.read_structure`"
"""Advice to users of Python who give something else."""


@dataclass(frozen=True, eq=False)
class Structure(Content):
    """Residues of all chains, one row each, with atoms in AlphaFold's atom37 order.

    Attributes:
        name: Name of the structure, e.g. the stem of its file.
        aatype: Amino-acid codes in the order ARNDCQEGHILKMFPSTWYV, 20 for anything else.
        residue_number: Residue numbers of the authors (`auth_seq_id`).
        insertion_code: Insertion codes of the authors; `""` if there is none.
        chain_id: Chain names of the authors (`auth_asym_id`).
        atom_positions: Å; zero where `atom_mask` is false.
        atom_mask: Which atoms are present.
        b_factor: Å², or pLDDT (0–100) for a prediction.
    """

    name: str
    aatype: Int[np.ndarray, " N"]
    residue_number: Int[np.ndarray, " N"]
    insertion_code: np.ndarray
    chain_id: np.ndarray
    atom_positions: Float[np.ndarray, "N 37 3"]
    atom_mask: Bool[np.ndarray, "N 37"]
    b_factor: Float[np.ndarray, "N 37"]

    def __len__(self) -> int:
        return len(self.aatype)

    def __repr__(self) -> str:
        about = f"{counted(len(self), 'residue')}, chains {', '.join(self.chains)}"
        return f"Structure({self.name!r}, {about})"

    @property
    def sequence(self) -> str:
        """One-letter codes of all residues; chains are joined without a separator."""
        return "".join(RESTYPES_WITH_X[code] for code in self.aatype)

    @property
    def chains(self) -> tuple[str, ...]:
        """Chain names in order of first appearance."""
        return tuple(dict.fromkeys(self.chain_id.tolist()))

    def select(self, keep: np.ndarray, name: str | None = None) -> Structure:
        """Return the residues that a mask or an index array selects, in its order."""
        arrays = (getattr(self, field.name)[keep] for field in fields(self)[1:])
        return Structure(self.name if name is None else name, *arrays)

    def chain(self, chain_id: str) -> Structure:
        """Return the residues of one chain.

        Raises:
            InputError: The structure has no such chain.

        Example:
            >>> from foldry.formats.coordinates import read_structure
            >>> len(read_structure("examples/kunitz/1adz.cif").chain("A"))
            63
        """
        if chain_id not in self.chains:
            advice = f"choose from {', '.join(self.chains)}"
            raise InputError(f"has no chain {quoted(chain_id)}", advice, where=self.name)
        return self.select(self.chain_id == chain_id)
