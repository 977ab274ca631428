"""Choice of OpenMM's platform, and the check that OpenMM is installed."""

from __future__ import annotations

from typing import Any, Final

from foldry.errors import InputError, MissingError, is_memory_error

PLATFORMS: Final = {"cuda": "CUDA", "cpu": "CPU", "reference": "Reference"}
"""Names in Foldry and in OpenMM, the fastest platform first."""


def find_platform(name: str) -> Any:
    """Return OpenMM's platform by name; for `auto`, the first of CUDA, CPU, Reference that works.

    Raises:
        InputError: The name is unknown.
        MissingError: OpenMM or PDBFixer is not installed, or the platform does not work here.
    """
    try:
        import openmm  # noqa: PLC0415
        import pdbfixer  # noqa: F401, PLC0415
    except ImportError as error:
        if is_memory_error(error):
            raise
        what = f"Relaxing needs OpenMM and PDBFixer, which are not installed ({error})"
        raise MissingError(what, "run `pip install openmm pdbfixer`") from None
    if name != "auto" and name not in PLATFORMS:
        raise InputError(f"The platform {name!r} is unknown", f"use auto, {', '.join(PLATFORMS)}")
    reason = ""
    for each in PLATFORMS if name == "auto" else (name,):
        try:
            platform = openmm.Platform.getPlatformByName(PLATFORMS[each])
            system = openmm.System()
            system.addParticle(1.0)
            # A platform may be listed without its device: only opening a context shows it.
            openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        except openmm.OpenMMException as error:
            reason = " ".join(str(error).split())
            if is_memory_error(RuntimeError(reason)):
                raise MemoryError(reason) from None
        else:
            return platform
    where = "any platform" if name == "auto" else name
    advice = "run `pip install openmm[cuda12]`, or choose cpu" if name == "cuda" else "reinstall it"
    raise MissingError(f"OpenMM cannot compute on {where} here", advice)
