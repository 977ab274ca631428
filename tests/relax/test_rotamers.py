"""Restraints of side chains, checked with OpenMM's forces and gemmi's torsion angles."""

from __future__ import annotations

import time
from dataclasses import replace

import gemmi
import numpy as np
import pytest

from foldry.formats.coordinates import to_pdb
from foldry.residues import ATOM37_ORDER, CA, CB, CHI_MASK, C, N, O
from foldry.score.stereochemistry import find_violations
from foldry.structure import Structure

openmm = pytest.importorskip("openmm", reason="needs pip install openmm pdbfixer")

from foldry.relax.amber import TOLERANCE, Minimiser  # noqa: E402
from foldry.relax.atoms import complete  # noqa: E402
from foldry.relax.expressions import TORSION, force_of_four  # noqa: E402
from foldry.relax.platforms import find_platform  # noqa: E402
from foldry.relax.rotamers import wanted_chi  # noqa: E402

TURNED = 5  # a tyrosine


def gemmi_chi1(structure: Structure) -> np.ndarray:
    """Chi1 of each residue in degrees, NaN without one."""
    [[chain]] = gemmi.read_pdb_string(to_pdb(structure))
    angles = np.full(len(structure), np.nan)
    for row, residue in enumerate(chain):
        atoms = {atom.name: atom.pos for atom in residue}
        for end in ("CG", "CG1", "OG", "OG1", "SG"):
            if end in atoms:
                places = (atoms[name] for name in ("N", "CA", "CB", end))
                angles[row] = np.degrees(gemmi.calculate_dihedral(*places))
    return angles


def turned(structure: Structure, row: int, degrees: float) -> Structure:
    """The structure with the chi1 of one residue changed by an angle."""
    xyz = structure.atom_positions.astype(float)
    axis = xyz[row, CB] - xyz[row, CA]
    axis /= np.linalg.norm(axis)
    side = structure.atom_mask[row] & ~np.isin(np.arange(37), (N, CA, C, O, CB))
    side[ATOM37_ORDER["OXT"]] = False
    arm = xyz[row, side] - xyz[row, CB]
    angle = np.radians(degrees)
    along = (arm @ axis)[:, None] * axis
    across = np.cross(axis, arm)
    xyz[row, side] = xyz[row, CB] + along + (arm - along) * np.cos(angle) + across * np.sin(angle)
    return replace(structure, atom_positions=xyz)


def differences(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs((one - other + 180) % 360 - 180))


def restraint_energy(structure: Structure, violating: np.ndarray) -> float:
    """Energy of all restraints at the structure's own positions, kcal/mol."""
    platform = find_platform("reference")
    minimiser = Minimiser(complete(structure, platform), platform, violating)
    state = minimiser._context.getState(getEnergy=True, groups={1})
    return float(state.getPotentialEnergy()._value) / 4.184


def test_wanted_chi1(hairpin: Structure) -> None:
    own = gemmi_chi1(hairpin)
    none, every = np.zeros(len(hairpin), bool), np.ones(len(hairpin), bool)
    known = np.isfinite(own)
    assert known.sum() > 12 and (known == (CHI_MASK[hairpin.aatype, 0] > 0)).all()
    assert differences(wanted_chi(hairpin, none)[known, 0], own[known]).max() < 0.1
    wanted = wanted_chi(hairpin, every)
    letters = np.array(list(hairpin.sequence))
    other = known & (letters != "P")
    assert np.isin(wanted[other, 0], (-65, 62, 180)).all()
    assert differences(wanted[other, 0], own[other]).max() <= 64
    np.testing.assert_array_equal(wanted[:, 1:], wanted_chi(hairpin, none)[:, 1:])
    proline = known & (letters == "P")
    assert differences(wanted[proline, 0], own[proline]).max(initial=0) < 0.1


def test_restraints_are_small_in_a_sound_model_and_pull_towards_a_rotamer(
    hairpin: Structure,
) -> None:
    none = np.zeros(len(hairpin), bool)
    number = np.isfinite(wanted_chi(hairpin, none)).sum()
    at_rest = restraint_energy(hairpin, none)
    assert 0 <= at_rest < number  # softened, each is 0.9 kcal/mol above 0, of 100
    own = gemmi_chi1(hairpin)[TURNED]
    one = none.copy()
    one[TURNED] = True
    rotamer = min((-65, 62, 180), key=lambda angle: differences(own, np.array(angle)))
    between = turned(hairpin, TURNED, rotamer + 35 - own)
    assert gemmi_chi1(between)[TURNED] == pytest.approx((rotamer + 215) % 360 - 180, abs=0.1)
    assert restraint_energy(between, one) - at_rest == pytest.approx(
        100 * (1 - np.cos(np.radians(35))), rel=0.02
    )


def test_a_torsion_angle_has_no_pole() -> None:
    """Forces on three atoms almost in a line are bounded, and they are the energy's gradient."""
    straight = np.array([[0, 0, 0], [0.15, 0, 0], [0.3, 1e-6, 0], [0.35, 0.14, 0.02]])
    system = openmm.System()
    for _ in straight:
        system.addParticle(1.0)
    force = force_of_four("1 - cosine * cos(2) - sine * sin(2)", TORSION)
    force.addBond([0, 1, 2, 3])
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), find_platform("reference"))

    def state(places: np.ndarray) -> tuple[float, np.ndarray]:
        context.setPositions(places)
        found = context.getState(getEnergy=True, getForces=True)
        return found.getPotentialEnergy()._value, found.getForces(asNumpy=True)._value

    slopes = np.zeros_like(straight)
    for place in np.ndindex(straight.shape):
        step = np.zeros_like(straight)
        step[place] = 1e-6
        slopes[place] = (state(straight + step)[0] - state(straight - step)[0]) / 2e-6
    forces = state(straight)[1]
    np.testing.assert_allclose(-slopes, forces, atol=1e-3)
    assert 1 < np.abs(forces).max() < 200  # 1/nm; 1e6 with OpenMM's torsion angle


def test_a_minimisation_of_a_model_full_of_clashes_ends_at_small_forces(
    hairpin: Structure,
) -> None:
    """OpenMM's torsion angles stopped it at 1e4 kJ/mol/nm and more, with atoms in a line."""
    rng = np.random.default_rng(0)
    xyz = 0.6 * hairpin.atom_positions + rng.normal(0, 1.6, hairpin.atom_positions.shape)
    pressed = replace(hairpin, atom_positions=xyz * hairpin.atom_mask[..., None])
    platform = find_platform("reference")
    minimiser = Minimiser(complete(pressed, platform), platform, np.ones(len(hairpin), bool))
    minimiser.untangle(time.monotonic() + 60)
    minimiser.minimise(time.monotonic() + 60)
    forces = minimiser._context.getState(getForces=True).getForces(asNumpy=True)._value
    assert np.sqrt((forces**2).sum(axis=1).mean()) < 1.5 * TOLERANCE


def test_overlapping_side_chains_are_separated_within_their_rotamers(hairpin: Structure) -> None:
    """One strand of the hairpin is moved most of the way into the other."""
    xyz = hairpin.atom_positions.copy()
    xyz[10:] += 0.8 * (xyz[:10, CA].mean(axis=0) - xyz[10:, CA].mean(axis=0))
    squeezed = replace(hairpin, atom_positions=xyz * hairpin.atom_mask[..., None])
    assert find_violations(squeezed).num_clashes > 50
    every = np.ones(len(hairpin), bool)
    platform = find_platform("reference")
    model = complete(squeezed, platform)
    minimiser = Minimiser(model, platform, every)
    minimiser.untangle(time.monotonic() + 60)
    separated = model.to_structure(minimiser.positions)
    assert find_violations(separated).num_clashes < 5
    change = differences(gemmi_chi1(separated), wanted_chi(hairpin, every)[:, 0])
    assert np.nanmax(change) < 40  # without the restraints of chi angles, up to 96° and more
