"""Starting is cheap: neither `import foldry` nor `foldry --help` loads torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "gemmi", "modelcif")


def loaded_by(statement: str) -> set[str]:
    """Return the heavy packages that a statement loads."""
    program = (
        "import sys, atexit\n"
        f"atexit.register(lambda: sys.stderr.write(' '.join(set({HEAVY}) & set(sys.modules))))\n"
        f"{statement}\n"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import foldry") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    argv = f"sys.argv = ['foldry', *{arguments}]"
    assert loaded_by(f"{argv}; from foldry.cli.main import main; sys.exit(main())") == set()


def test_a_public_name_is_found_on_first_use() -> None:
    assert "numpy" in loaded_by("import foldry; foldry.Query")
    assert "torch" not in loaded_by("import foldry; foldry.Query")
