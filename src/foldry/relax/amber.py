"""Minimisation of Amber's energy with restraints and guards, by OpenMM's L-BFGS."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float

from foldry.relax.atoms import FullModel, force_field
from foldry.relax.guards import flat_peptides, left_hands
from foldry.relax.rotamers import hold_chi
from foldry.residues import CA, CB, C, N, O

STIFFNESS: Final = 10.0
"""Stiffness of the restraints, kcal/mol/Å², as in AlphaFold (Jumper 2021, SI 1.8.6)."""
CA_STIFFNESS: Final = 300.0
"""Stiffness for Cα, kcal/mol/Å². Cα stays restrained in freed residues, because otherwise a chain
with many clashes would unfold."""
CHI_STIFFNESS: Final = 100.0
"""Stiffness k of the restraints k (1 − cos Δχ) of the chi angles, kcal/mol."""
TOLERANCE: Final = 10.0
"""Root mean square of the forces at which a minimisation ends, kJ/mol/nm. It equals AlphaFold's
2.39 kcal/mol/nm and is OpenMM's default."""
_HYDROXYL: Final = (0.04, 0.19246)
"""Lennard-Jones σ (nm) and ε (kJ/mol) of CHARMM22's polar hydrogens (MacKerell et al., J. Phys.
Chem. B 1998, 102, 3586); hydroxyl hydrogens have none in Amber."""
_STRENGTH: Final = 10_000.0
_SOFT_STEPS: Final = 1000
_RIGID: Final = (N, CA, C, O, CB)
"""Atoms that do not turn with a chi angle."""
_KJ_PER_KCAL: Final = 4.184
_NM2_PER_A2: Final = 0.01
_A_PER_NM: Final = 10.0
_AMBER, _RESTRAINT, _GUARD = range(3)


class Minimiser:
    """Minimises the energy of a full model; positions persist from call to call.

    Args:
        model: The model.
        platform: OpenMM's platform.
        violating: Residues of the model with violations. Their side chains are restrained to a
            rotamer instead of to positions.
    """

    def __init__(self, model: FullModel, platform: Any, violating: Bool[np.ndarray, " N"]) -> None:
        self._model = model
        self._violating = violating
        self._platform = platform
        self._given: list[int] = np.flatnonzero(model.is_given).tolist()
        self._restraint = self._restraints()
        system = self._system()
        system.addForce(self._restraint)
        self._context = self._open(system)
        self._set_positions(model.positions)

    @property
    def positions(self) -> Float[np.ndarray, "M 3"]:
        """Current positions of all atoms, Å."""
        return _positions(self._context) * _A_PER_NM

    def energy(self) -> float:
        """Return Amber's energy without restraints and guards, kcal/mol."""
        state = self._context.getState(getEnergy=True, groups={_AMBER})
        return float(state.getPotentialEnergy()._value) / _KJ_PER_KCAL

    def free(self, residues: Bool[np.ndarray, " N"]) -> None:
        """Remove the position restraints of these residues, except those on Cα."""
        for number, parameters in enumerate(self._held(residues)):
            self._restraint.setParticleParameters(number, *parameters)
        self._restraint.updateParametersInContext(self._context)

    def minimise(self, deadline: float) -> bool:
        """Minimise until the forces are small; return whether the deadline was met.

        Args:
            deadline: A time of `time.monotonic`.

        Raises:
            openmm.OpenMMException: The energy is not a number.
        """
        return _minimise(self._context, deadline)

    def untangle(self, deadline: float) -> None:
        """Separate overlapping atoms with a soft repulsion.

        Between atoms on top of each other, the true repulsion is so strong that it drives bonds
        through rings and chains, which no later minimisation corrects. This minimisation keeps
        Amber's bonds, angles and torsions and the restraints, but replaces charges and
        Lennard-Jones by a repulsion without a pole, ½ k (s − r)² below s = 0.9 × the mean σ.
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
        # Bonds to hydrogen are springs: with fixed lengths, as in AlphaFold, OpenMM's minimiser
        # needs several passes and ends at a higher energy.
        system = force_field().createSystem(self._model.topology)
        _give_cores(system.getForce(_nonbonded(system)))
        for guard in (left_hands(self._model), flat_peptides(self._model)):
            guard.setForceGroup(_GUARD)
            system.addForce(guard)
        rotamers = hold_chi(self._model, self._violating, CHI_STIFFNESS * _KJ_PER_KCAL)
        rotamers.setForceGroup(_RESTRAINT)
        system.addForce(rotamers)
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
        """Yield each given atom and its restraint to the given position, in OpenMM's units."""
        model = self._model
        turns = self._violating[model.row] & ~np.isin(model.slot, _RIGID)
        stiffness = np.where(freed[model.row] | turns, 0.0, STIFFNESS)
        stiffness[model.slot == CA] = CA_STIFFNESS
        for atom in self._given:
            place = model.positions[atom] / _A_PER_NM
            yield atom, [stiffness[atom] * _KJ_PER_KCAL / _NM2_PER_A2, *place.tolist()]

    def _open(self, system: Any) -> Any:
        import openmm  # noqa: PLC0415

        # A minimisation does not use the integrator, but a context must have one.
        return openmm.Context(system, openmm.VerletIntegrator(0.001), self._platform)

    def _set_positions(self, positions: Float[np.ndarray, "M 3"]) -> None:
        self._context.setPositions(positions / _A_PER_NM)


def _give_cores(force: Any) -> None:
    """Give hydroxyl hydrogens a Lennard-Jones core; in 1–4 pairs it is half as deep, as in Amber.

    Without a core, such a hydrogen can fall into a negative atom of a distorted model, where the
    energy has no lower bound.
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
    """Return the index of the system's force with charges and Lennard-Jones terms."""
    import openmm  # noqa: PLC0415

    forces = enumerate(system.getForces())
    return next(place for place, force in forces if isinstance(force, openmm.NonbondedForce))


def _positions(context: Any) -> Float[np.ndarray, "M 3"]:
    """Return the positions in nm."""
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
