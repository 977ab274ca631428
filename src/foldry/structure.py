"""Known or predicted atoms of one or more protein chains, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.residues import RESTYPES_WITH_X
from foldry.store.hashes import Content


@dataclass(frozen=True, eq=False)
class Structure(Content):
    """Residues of all chains in one row, atoms in AlphaFold's atom37 order.

    Attributes:
        name: What the structure is called, such as the file's stem.
        aatype: Amino-acid codes in the order ARNDCQEGHILKMFPSTWYV, 20 for anything else.
        residue_number: The author's residue numbers.
        insertion_code: The author's insertion codes, `""` where there is none.
        chain_id: The author's chain names.
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

    @property
    def sequence(self) -> str:
        """One-letter codes of all residues, chains joined without a separator."""
        return "".join(RESTYPES_WITH_X[code] for code in self.aatype)

    @property
    def chains(self) -> tuple[str, ...]:
        """Chain names in order of first appearance."""
        return tuple(dict.fromkeys(self.chain_id.tolist()))

    def select(self, keep: np.ndarray, name: str | None = None) -> Structure:
        """The residues that a mask or an index array picks, in its order."""
        arrays = (getattr(self, field.name)[keep] for field in fields(self)[1:])
        return Structure(self.name if name is None else name, *arrays)

    def chain(self, chain_id: str) -> Structure:
        """The residues of one chain.

        Raises:
            KeyError: There is no such chain.
        """
        if chain_id not in self.chains:
            raise KeyError(chain_id)
        return self.select(self.chain_id == chain_id)
