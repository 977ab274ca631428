"""The house rules a program can check: who imports whom, and what a file may hold."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from foldry.cli.main import app
from foldry.cli.messages import as_flags

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "foldry"

# Data flows down this list, and a room imports only rooms above itself.
ROOMS = (
    "errors",
    "store",
    "processes",
    "residues",
    "measures",
    "structure",
    "query",
    "formats",
    "align",
    "inputs",
    "search",
    "features",
    "cost",
    "geometry",
    "kernels",
    "model",
    "weights",
    "score",
    "relax",
    "results",
    "assess",
    "predict",
    "dataset",
    "train",
    "design",
    "database",
    "jobs",
    "server",
    "campaign",
    "cli",
)
DOORS = ("", "cli")  # the package itself and the command line import what they open
WITH_TORCH = ("geometry", "kernels", "model", "weights", "predict", "train", "design")
WITHOUT_TORCH = tuple(room for room in ROOMS if room not in WITH_TORCH)
ON_A_BARE_GPU_MACHINE = {"torch", "triton", "numpy", "jaxtyping", "safetensors"}
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 80  # without its signature, which for a command holds the help of its flags
MAX_PARAMETERS = 8


def module_name(path: Path) -> str:
    """`src/foldry/model/config.py` is `foldry.model.config`."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room(module: str) -> str:
    """The room of a module of ours; empty for the package itself."""
    return ([*module.split("."), ""])[1]


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(), str(FILES[module]))


def imported(module: str, node: ast.stmt) -> Iterator[str]:
    """The full names that one statement imports: of ours the module, of others the package."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            is_package = FILES[module].name == "__init__.py"
            parents = module.split(".")[: len(module.split(".")) + is_package - node.level]
            base = ".".join([*parents, base] if base else parents)
        members = [f"{base}.{alias.name}" for alias in node.names]
        names = [member if member in FILES else base for member in members]
    else:
        return
    for name in names:
        yield name if name.partition(".")[0] == "foldry" else name.partition(".")[0]


def at_import(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported: not functions, not TYPE_CHECKING."""
    for node in statements:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from at_import(node.orelse)
            continue
        for block in ("body", "orelse", "finalbody"):
            yield from at_import(getattr(node, block, []))
        for handler in getattr(node, "handlers", []):
            yield from at_import(handler.body)


def needed_at_import(start: str) -> dict[str, str]:
    """Every package not ours that importing a module brings, and the module that asks for it."""
    packages: dict[str, str] = {}
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        # Importing a.b.c runs a and a.b first.
        parts = module.split(".")
        parents = [".".join(parts[:length]) for length in range(1, len(parts))]
        waiting += [parent for parent in parents if parent in FILES]
        for node in at_import(tree(module).body):
            for name in imported(module, node):
                if name in FILES:
                    waiting.append(name)
                elif name not in sys.stdlib_module_names:
                    packages.setdefault(name, module)
    return packages


def functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_room_is_in_the_list() -> None:
    assert {room(module) for module in FILES} - {"", *ROOMS} == set()


@pytest.mark.parametrize("module", FILES)
def test_a_room_imports_only_rooms_above_it(module: str) -> None:
    if room(module) in DOORS:
        return
    above = ROOMS[: ROOMS.index(room(module)) + 1]
    for node in ast.walk(tree(module)):
        for name in imported(module, node) if isinstance(node, ast.stmt) else ():
            if not name.startswith("foldry"):
                continue
            names = getattr(node, "names", [])
            is_version = name == "foldry" and [alias.name for alias in names] == ["__version__"]
            assert is_version or room(name) in above, f"{module}:{node.lineno} imports {name}"


@pytest.mark.parametrize("module", [name for name in FILES if room(name) in WITHOUT_TORCH])
def test_rooms_without_torch_ask_for_none(module: str) -> None:
    packages = needed_at_import(module)
    assert "torch" not in packages, f"{packages.get('torch')} imports torch"


def test_rooms_without_torch_import_where_torch_is_absent() -> None:
    modules = [name for name in FILES if room(name) in ("", *WITHOUT_TORCH)]
    program = "import sys; sys.modules['torch'] = None\n" + "".join(
        f"import {name}\n" for name in modules if not name.endswith("__main__")
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("module", [name for name in FILES if room(name) == "train"])
def test_training_needs_only_what_a_bare_gpu_machine_has(module: str) -> None:
    others = {
        package: asker
        for package, asker in needed_at_import(module).items()
        if package not in ON_A_BARE_GPU_MACHINE
    }
    assert others == {}


@pytest.mark.parametrize("module", FILES)
def test_a_file_says_what_it_is_and_stays_small(module: str) -> None:
    assert ast.get_docstring(tree(module)), "a file opens with what it is for"
    assert "utils" not in module.split("."), "a room's name says what goes in it"
    assert len(FILES[module].read_text().splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("module", FILES)
def test_functions_stay_small(module: str) -> None:
    for function in functions(module):
        where = f"{module}.{function.name}, line {function.lineno}"
        lines = (function.end_lineno or 0) - function.body[0].lineno + 1
        assert lines <= MAX_FUNCTION_LINES, f"{where}: {lines} lines"
        if room(module) == "cli":
            continue  # a command's parameters are its flags
        arguments = function.args
        names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        count = len([name for name in names if name.arg not in ("self", "cls")])
        assert count <= MAX_PARAMETERS, f"{where}: {count} parameters"


WRITING_METHODS = {"write_text", "write_bytes", "touch", "mkdir", "rename", "unlink", "rmdir"}
WRITING_METHODS |= {"symlink_to", "hardlink_to", "chmod"}
WRITING_FUNCTIONS = {
    "shutil.rmtree",
    "shutil.move",
    "shutil.copy",
    "shutil.copy2",
    "shutil.copyfile",
}
WRITING_FUNCTIONS |= {
    "shutil.copytree",
    "np.save",
    "os.open",
    "os.replace",
    "os.rename",
    "os.remove",
}
WRITING_FUNCTIONS |= {"os.unlink", "os.mkdir", "os.makedirs", "os.rmdir", "os.link", "os.symlink"}
ONLY_IN_THE_STORE = {"hashlib", "fcntl", "tempfile", "filelock", "xxhash"}


def writes(call: ast.Call) -> bool:
    """Whether a call opens a file for writing, or makes, renames or removes one."""
    name = ast.unparse(call.func)
    if name in WRITING_FUNCTIONS:
        return True
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    if name == "open" or name.endswith(".open"):
        place = 1 if name in ("open", "gzip.open", "bz2.open", "lzma.open", "io.open") else 0
        mode = call.args[place] if len(call.args) > place else named.get("mode")
        text = mode.value if isinstance(mode, ast.Constant) else ""
        return (
            isinstance(text, str) and set(text) <= set("rwaxbt+") and bool(set(text) & set("wax+"))
        )
    if not isinstance(call.func, ast.Attribute):
        return False
    if name in ("np.savez", "np.savez_compressed", "numpy.savez"):
        # Into a file that is open already; a path would be opened.
        return not (call.args and ast.unparse(call.args[0]) in ("file", "data"))
    renames = call.func.attr == "replace" and len(call.args) == 1 and not call.keywords
    return renames or call.func.attr in WRITING_METHODS


@pytest.mark.parametrize("module", [name for name in FILES if room(name) != "store"])
def test_only_the_store_writes_renames_locks_and_hashes(module: str) -> None:
    for node in ast.walk(tree(module)):
        where = f"{module}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            found = set(imported(module, node)) & ONLY_IN_THE_STORE
            assert not found, f"{where} imports {found}"
        elif isinstance(node, ast.Call):
            assert not writes(node), f"{where}: {ast.unparse(node)[:80]}"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("open(path, 'w')", True),
        ("open(path)", False),
        ("path.open('xb')", True),
        ("path.open('rb')", False),
        ("path.open(mode='r+b')", True),
        ("gzip.open(path, 'wt')", True),
        ("tarfile.open(package)", False),
        ("archive.open(member)", False),
        ("partial.replace(path)", True),
        ("text.replace('a', 'b')", False),
        ("dataclasses.replace(row)", True),  # the name alone is imported
        ("np.savez(path, a=a)", True),
        ("np.savez(file, a=a)", False),
        ("path.write_text('a')", True),
    ],
)
def test_writing_is_recognised(code: str, expected: bool) -> None:
    [statement] = ast.parse(code).body
    assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    assert writes(statement.value) is expected


def our_commands() -> Iterator[Any]:
    """Every command of ours, groups included."""
    waiting: list[Any] = [typer.main.get_command(app)]
    while waiting:
        command = waiting.pop()
        yield command
        waiting += getattr(command, "commands", {}).values()


FLAGS = {flag for command in our_commands() for each in command.params for flag in each.opts}


def our_flags_and_commands() -> re.Pattern[str]:
    """Finds `foldry WORD` with a command of ours, and any long flag of ours."""
    words = {word for command in our_commands() for word in getattr(command, "commands", {})}
    flags = "|".join(sorted(flag for flag in FLAGS if flag.startswith("--")))
    return re.compile(rf"\bfoldry ({'|'.join(sorted(words))})\b|(?<![\w-])({flags})(?![\w-])")


OURS = our_flags_and_commands()


@pytest.mark.parametrize("module", [name for name in FILES if room(name) not in DOORS])
def test_no_text_below_the_command_line_names_its_flags_or_commands(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = OURS.search(node.value)
            assert found is None, f"{module}:{node.lineno} says {found and found[0]!r}"


@pytest.mark.parametrize("module", [name for name in FILES if room(name) not in DOORS])
def test_a_setting_that_a_message_names_is_a_flag(module: str) -> None:
    for node in ast.walk(tree(module)):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error")):
            continue
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                for name in re.findall(r"`([a-z][a-z0-9_]*)`", part.value):
                    flag = as_flags(f"`{name}`").split()[0]
                    assert flag in FLAGS, f"{module}:{part.lineno} names {name}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("run `foldry weights get` first", True),
        ("foldry fold", True),
        ("another --out", True),
        ("--max-seqs", False),
        ("the Foldry authors", False),
        ("pip install foldry", False),
        ("--outer", False),
    ],
)
def test_flags_and_commands_are_recognised(text: str, found: bool) -> None:
    assert bool(OURS.search(text)) is found


@pytest.mark.parametrize("module", FILES)
def test_no_pickle_no_shell_no_print(module: str) -> None:
    for node in ast.walk(tree(module)):
        where = f"{module}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            found = set(imported(module, node)) & {"pickle", "cPickle", "dill", "cloudpickle"}
            assert not found, f"{where} imports {found}"
        elif isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("print", "eval", "exec", "os.system"), where
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                assert (keyword.arg, value) != ("allow_pickle", True), where
                assert (keyword.arg, value) != ("shell", True), where
