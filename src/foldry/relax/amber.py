"""Amber's energy with restraints and guards, brought down by OpenMM's minimiser (L-BFGS)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float

from foldry.relax.atoms import FullModel, force_field
from foldry.relax.guards import flat_peptides, left_hands
from foldry.residues import CA

STIFFNESS: Final = 10.0
"""kcal/mol/Å² of the restraints, as AlphaFold's (Jumper 2021, SI 1.8.6)."""
CA_STIFFNESS: Final = 300.0
"""Of those of Cα, which stay when a residue is freed: a chain full of clashes would else unfold."""
TOLERANCE: Final = 10.0
"""kJ/mol/nm. A minimisation ends where the forces' root mean square is less; AlphaFold's 2.39 kcal,
which is OpenMM's default."""
_HYDROXYL: Final = (0.04, 0.19246)
"""Lennard-Jones σ (nm) and ε (kJ/mol) of CHARMM22's polar hydrogens (MacKerell et al., J. Phys.
Chem. B 1998, 102, 3586); Amber gives those of hydroxyls none."""
_STRENGTH: Final = 10_000.0
_SOFT_STEPS: Final = 1000
_KJ_PER_KCAL: Final = 4.184
_NM2_PER_A2: Final = 0.01
_A_PER_NM: Final = 10.0
_AMBER, _RESTRAINT, _GUARD = range(3)


class Minimiser:
    """A full model whose energy is brought down, the same atoms from call to call."""

    def __init__(self, model: FullModel, platform: Any) -> None:
        self._model = model
        self._platform = platform
        self._given: list[int] = np.flatnonzero(model.is_given).tolist()
        self._restraint = self._restraints()
        system = self._system()
        system.addForce(self._restraint)
        self._context = self._open(system)
        self._set_positions(model.positions)

    @property
    def positions(self) -> Float[np.ndarray, "M 3"]:
        """Å."""
        return _positions(self._context) * _A_PER_NM

    def energy(self) -> float:
        """Amber's energy alone, kcal/mol."""
        state = self._context.getState(getEnergy=True, groups={_AMBER})
        return float(state.getPotentialEnergy()._value) / _KJ_PER_KCAL

    def free(self, residues: Bool[np.ndarray, " N"]) -> None:
        """Restrain no atom of these residues of the structure but Cα; others stay restrained."""
        for number, parameters in enumerate(self._held(residues)):
            self._restraint.setParticleParameters(number, *parameters)
        self._restraint.updateParametersInContext(self._context)

    def minimise(self, deadline: float) -> bool:
        """Minimise until the forces are small; whether that was before the deadline.

        Args:
            deadline: By `time.monotonic`.

        Raises:
            openmm.OpenMMException: The energy is not a number.
        """
        return _minimise(self._context, deadline)

    def untangle(self, deadline: float) -> None:
        """Let atoms that lie on each other slip past: Amber's bonds, angles and torsions, the
        restraints, and in place of charges and Lennard-Jones a repulsion without a pole,
        ½ k (s − r)² below s = 0.9 × the mean σ.

        From atoms on top of each other the true repulsion drives bonds through rings and chains,
        which no minimisation corrects.
        """
        import openmm  # noqa: PLC0415

        system = self._system()
        index = _nonbonded(system)
        real = system.getForce(index)
        soft = openmm.CustomNonbondedForce(
            f"0.5 * {_STRENGTH} * step(s - r) * (s - r)^2; s = 0.45 * (sigma1 + sigma2)"
        )
        soft.addPerParticleParameter("sigma")
        for particle in range(real.getNumParticles()):
            _, sigma, _ = real.getParticleParameters(particle)
            soft.addParticle([sigma])
        for pair in range(real.getNumExceptions()):
            one, other, *_ = real.getExceptionParameters(pair)
            soft.addExclusion(one, other)
        soft.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffNonPeriodic)
        soft.setCutoffDistance(0.4)  # nm, more than any s
        system.removeForce(index)
        system.addForce(soft)
        system.addForce(self._restraints())
        context = self._open(system)
        context.setPositions(_positions(self._context))
        _minimise(context, deadline, _SOFT_STEPS)
        self._set_positions(_positions(context) * _A_PER_NM)

    def _system(self) -> Any:
        # Bonds to hydrogen are springs: held fixed, as AlphaFold has them, they take OpenMM's
        # minimiser several passes to end in a higher energy.
        system = force_field().createSystem(self._model.topology)
        _give_cores(system.getForce(_nonbonded(system)))
        for guard in (left_hands(self._model), flat_peptides(self._model)):
            guard.setForceGroup(_GUARD)
            system.addForce(guard)
        return system

    def _restraints(self) -> Any:
        import openmm  # noqa: PLC0415

        force = openmm.CustomExternalForce("0.5 * k * ((x - x0)^2 + (y - y0)^2 + (z - z0)^2)")
        for name in ("k", "x0", "y0", "z0"):
            force.addPerParticleParameter(name)
        for parameters in self._held(np.zeros(len(self._model.structure), bool)):
            force.addParticle(*parameters)
        force.setForceGroup(_RESTRAINT)
        return force

    def _held(self, freed: Bool[np.ndarray, " N"]) -> Iterator[tuple[int, list[float]]]:
        """Each given atom and its restraint in OpenMM's units, always to the given place."""
        model = self._model
        stiffness = np.where(freed[model.row], 0.0, STIFFNESS)
        stiffness[model.slot == CA] = CA_STIFFNESS
        for atom in self._given:
            place = model.positions[atom] / _A_PER_NM
            yield atom, [stiffness[atom] * _KJ_PER_KCAL / _NM2_PER_A2, *place.tolist()]

    def _open(self, system: Any) -> Any:
        import openmm  # noqa: PLC0415

        # A minimisation takes no step of the integrator, but a context must have one.
        return openmm.Context(system, openmm.VerletIntegrator(0.001), self._platform)

    def _set_positions(self, positions: Float[np.ndarray, "M 3"]) -> None:
        self._context.setPositions(positions / _A_PER_NM)


def _give_cores(force: Any) -> None:
    """Give hydroxyl hydrogens a Lennard-Jones core, half as deep in 1–4 pairs, as Amber's are.

    Without one the energy has no lower bound where, in a distorted model, such a hydrogen comes
    near to a negative atom.
    """
    for particle in range(force.getNumParticles()):
        charge, _, depth = force.getParticleParameters(particle)
        if not depth._value:
            force.setParticleParameters(particle, charge, *_HYDROXYL)
    for pair in range(force.getNumExceptions()):
        one, other, charges, _, depth = force.getExceptionParameters(pair)
        if charges._value and not depth._value:
            _, sigma, deep = force.getParticleParameters(one)
            _, other_sigma, other_deep = force.getParticleParameters(other)
            sigma, depth = (sigma + other_sigma) / 2, math.sqrt(deep._value * other_deep._value) / 2
            force.setExceptionParameters(pair, one, other, charges, sigma, depth)


def _nonbonded(system: Any) -> int:
    """Place of the force of charges and Lennard-Jones among the system's."""
    import openmm  # noqa: PLC0415

    forces = enumerate(system.getForces())
    return next(place for place, force in forces if isinstance(force, openmm.NonbondedForce))


def _positions(context: Any) -> Float[np.ndarray, "M 3"]:
    """nm."""
    return np.asarray(context.getState(getPositions=True).getPositions(asNumpy=True)._value)


def _minimise(context: Any, deadline: float, steps: int = 0) -> bool:
    import openmm  # noqa: PLC0415

    class Clock(openmm.MinimizationReporter):  # type: ignore[misc]
        in_time = True

        def report(self, _step: int, _x: Any, _gradient: Any, _more: Any) -> bool:
            self.in_time = self.in_time and time.monotonic() < deadline
            return not self.in_time

    clock = Clock()
    openmm.LocalEnergyMinimizer.minimize(context, TOLERANCE, steps, clock)
    return clock.in_time
