"""The rules of the code that a program can check: imports between rooms, contents of files."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from foldry.cli.main import application
from foldry.cli.messages import as_flags

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "foldry"

# Data flows down this list; a room imports only rooms above it.
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
DOORS = ("", "__main__", "cli")  # the package itself and the command line import what they open
WITH_TORCH = ("geometry", "kernels", "model", "weights", "predict", "train", "design")
WITHOUT_TORCH = tuple(room for room in ROOMS if room not in WITH_TORCH)
ON_A_BARE_GPU_MACHINE = {"torch", "triton", "numpy", "jaxtyping", "safetensors"}
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 80  # without the signature, which in commands contains the help of the flags
MAX_PARAMETERS = 8
MAX_REPEATED_LINES = 11
MAX_CODE_LINES = 36_500


def module_name(path: Path) -> str:
    """Return the module in a file, such as `foldry.model.config`."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room(module: str) -> str:
    """Return the room of one of our modules; "" for the package itself."""
    return ([*module.split("."), ""])[1]


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(), str(FILES[module]))


def imported(module: str, node: ast.stmt) -> Iterator[str]:
    """Return the names that one statement imports: modules of ours, packages of others."""
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
    """Return the statements that run on import: no functions, no TYPE_CHECKING."""
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
    """Return every foreign package that importing a module loads, and its importer."""
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
    assert {room(module) for module in FILES} - {*DOORS, *ROOMS} == set()


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
def test_rooms_without_torch_do_not_import_it(module: str) -> None:
    packages = needed_at_import(module)
    assert "torch" not in packages, f"{packages.get('torch')} imports torch"


def test_rooms_without_torch_import_if_torch_is_absent() -> None:
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
    assert ast.get_docstring(tree(module)), "a file must begin with a docstring"
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


# Data files of a room


Parts = tuple[str, ...]
OF_A_PACKAGE = {"files", "get_data", "read_text", "read_binary", "open_text", "open_binary"}


def located(node: ast.AST, known: Mapping[str, Parts]) -> Parts | None:
    """Return the path of an expression below the package, in parts; None if it is not a path.

    `known` has the paths of names; "?" is a part that is not constant.
    """
    found: Parts | None = None
    match node:
        case ast.Name(id=name):
            found = known.get(name)
        case ast.BinOp(left=start, op=ast.Div(), right=name):
            found = joined(located(start, known), [name])
        case ast.Attribute(value=start, attr="parent"):
            found = up(located(start, known), 1)
        case ast.Subscript(
            value=ast.Attribute(value=start, attr="parents"), slice=ast.Constant(value=int(levels))
        ):
            found = up(located(start, known), levels + 1)
        case ast.Call(
            func=ast.Name(id=name) | ast.Attribute(attr=name),
            args=[ast.Constant(value=str(package)), *names],
        ) if name in OF_A_PACKAGE and re.fullmatch(r"foldry(\.\w+)*", package):
            found = joined(tuple(package.split(".")[1:]), names)
        case ast.Call(func=ast.Attribute(attr="dirname"), args=[start]):
            found = up(located(start, known), 1)
        case ast.Call(
            func=ast.Name(id="Path" | "str") | ast.Attribute(attr="Path" | "join"),
            args=[start, *names],
        ):
            found = joined(located(start, known), names)
        case ast.Call(func=ast.Attribute(value=start, attr="joinpath"), args=names):
            found = joined(located(start, known), names)
        case ast.Call(func=ast.Attribute(value=start, attr="with_name"), args=names):
            found = joined(up(located(start, known), 1), names)
        case ast.Call(func=ast.Attribute(value=start, attr="resolve" | "absolute")):
            found = located(start, known)
    return found


def up(start: Parts | None, levels: int) -> Parts | None:
    """Return the folder some levels above a path; ".." is above the package itself."""
    for _ in range(levels if start is not None else 0):
        start = start[:-1] if start else ("..",)
    return start


def joined(start: Parts | None, names: list[ast.expr]) -> Parts | None:
    """Return a path extended by names."""
    for name in names if start is not None else ():
        text = name.value if isinstance(name, ast.Constant) else "?"
        for part in str(text).split("/"):
            start = up(start, 1) if part == ".." else (*(start or ()), part)
    return start


def foreign_data(module: str, code: ast.Module) -> Iterator[str]:
    """Return each expression that leads to a file of another room, or out of the package."""
    own = tuple(FILES[module].relative_to(PACKAGE).parts)
    known: dict[str, Parts] = {"__file__": own}
    for node in ast.walk(code):  # outer statements before inner ones
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            place = located(node.value, known)
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if place is not None:
                known |= {each.id: place for each in targets if isinstance(each, ast.Name)}
    for node in ast.walk(code):
        place = located(node, known)
        if place and place[0].partition(".")[0] != own[0].partition(".")[0]:
            yield f"{module}:{getattr(node, 'lineno', 0)} reads {'/'.join(place)}"


@pytest.mark.parametrize("module", FILES)
def test_a_room_reads_no_data_file_of_another(module: str) -> None:
    assert list(foreign_data(module, tree(module))) == []


@pytest.mark.parametrize(
    ("code", "read"),
    [
        ("files('foldry') / 'server' / 'viewer'", "server/viewer"),
        ("files('foldry').joinpath('server/page.css')", "server/page.css"),
        ("importlib.resources.files('foldry.server') / 'page.css'", "server/page.css"),
        ("resources.read_text('foldry.server', 'page.css')", "server/page.css"),
        ("Path(__file__).parent.parent / 'server' / 'page.css'", "server/page.css"),
        ("Path(__file__).resolve().parents[1] / 'server/page.css'", "server/page.css"),
        ("Path(__file__).parent / '../server/page.css'", "server/page.css"),
        ("Path(__file__).parent.with_name('server')", "server"),
        ("os.path.join(os.path.dirname(__file__), '..', 'server')", "server"),
        ("HERE = Path(__file__).parent\nHERE.parent / 'server'", "server"),
        ("Path(__file__).parent.parent / name", "?"),
        ("Path(__file__).parents[2] / 'docs'", "../docs"),
        ("files('foldry').joinpath('residues.json')", "residues.json"),
        ("files('foldry') / 'score' / 'ramachandran.txt'", ""),
        ("Path(__file__).parent / name", ""),
        ("Path(__file__).with_name('ramachandran.txt')", ""),
        ("Path(folder).parent / 'server'", ""),
        ("one / other", ""),
    ],
)
def test_reading_another_rooms_data_is_recognised(code: str, read: str) -> None:
    found = [line.rpartition(" ")[2] for line in foreign_data("foldry.score.tm", ast.parse(code))]
    assert (read in found) if read else (found == [])


# Amount of code, and repeated passages


def code_lines(text: str) -> dict[int, list[str]]:
    """Return the tokens of each line with code: no comment, docstring or bare string."""
    bare: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                bare.update(range(node.lineno, (node.end_lineno or 0) + 1))
    lines: dict[int, list[str]] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            for number in range(token.start[0], token.end[0] + 1):
                lines.setdefault(number, []).append(token.string)
    return {number: tokens for number, tokens in lines.items() if number not in bare}


NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
NO_CODE |= {tokenize.ENDMARKER}


def repeated(texts: Mapping[str, str], length: int) -> Iterator[str]:
    """Return each passage of some code lines, without imports, that occurs twice."""
    seen: dict[tuple[tuple[str, ...], ...], tuple[str, int, int]] = {}
    for name, text in texts.items():
        lines = code_lines(text)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for number in range(node.lineno, (node.end_lineno or 0) + 1):
                    lines.pop(number, None)
        numbers = sorted(lines)
        free = 0  # another passage begins after the end of the last one found
        for place in range(len(numbers) - length + 1):
            passage = tuple(tuple(lines[number]) for number in numbers[place : place + length])
            other, line, start = seen.setdefault(passage, (name, numbers[place], place))
            apart = other != name or place - start >= length
            if apart and place >= free:
                free = place + length
                yield f"{name}, line {numbers[place]}, repeats {other}, line {line}"


def test_no_passage_is_repeated() -> None:
    texts = {module: path.read_text() for module, path in FILES.items()}
    assert list(repeated(texts, MAX_REPEATED_LINES + 1)) == []


def test_a_repeated_passage_is_found() -> None:
    lines = [f"a{number} = f({number})" for number in range(12)]
    copied = "def g():\n    '''Text.'''\n" + "".join(f"    {line}  # why\n\n" for line in lines)
    texts = {"one": "\n".join(lines), "other": f"import re\n{copied}"}
    assert list(repeated(texts, 12)) == ["other, line 4, repeats one, line 1"]
    changed = texts | {"other": copied.replace("f(6)", "f(7)")}
    assert list(repeated(changed, 12)) == []
    imports = "\n".join(f"import a{number}" for number in range(20))
    assert list(repeated({"one": imports, "other": imports}, 12)) == []
    assert list(repeated({"one": "a = 1\n" * 20}, 12)) == [], "it overlaps only itself"
    assert list(repeated({"one": "a = 1\n" * 24}, 12)) == ["one, line 13, repeats one, line 1"]


def test_the_code_does_not_grow() -> None:
    count = sum(len(code_lines(path.read_text())) for path in FILES.values())
    assert count <= MAX_CODE_LINES, f"{count} code lines are too many"


def test_code_lines_are_counted() -> None:
    text = '''"""What it is."""\n\n# Why.\na = (\n    1,\n)\n"""What a is."""\nb = """x\ny"""\n'''
    assert sorted(code_lines(text)) == [4, 5, 6, 8, 9]


# Writers


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
    """Return whether a call opens a file for writing, or creates, renames or removes one."""
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
        # These write into an open file.
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
    """Return every command, groups included."""
    waiting: list[Any] = [typer.main.get_command(application())]
    while waiting:
        command = waiting.pop()
        yield command
        waiting += getattr(command, "commands", {}).values()


FLAGS = {flag for command in our_commands() for each in command.params for flag in each.opts}


def our_flags_and_commands() -> re.Pattern[str]:
    """Return a pattern of `foldry WORD` for every command and of every long flag."""
    words = {word for command in our_commands() for word in getattr(command, "commands", {})}
    flags = "|".join(sorted(flag for flag in FLAGS if flag.startswith("--")))
    # Python has `from foldry import`, and other programs have flags such as --format=csv.
    command = rf"\b(?<!from )foldry ({'|'.join(sorted(words))})\b"
    return re.compile(rf"{command}|(?<![\w-])({flags})(?![\w=-])")


OURS = our_flags_and_commands()


@pytest.mark.parametrize("module", [name for name in FILES if room(name) not in DOORS])
def test_no_text_below_the_command_line_names_its_flags_or_commands(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = OURS.search(node.value)
            # A flag alone is an argument of another program.
            is_argument = node.value in FLAGS and room(module) in ("search", "database")
            assert found is None or is_argument, f"{module}:{node.lineno} says {found[0]!r}"


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
        ("foldry import lab.db", True),
        ("from foldry import fold", False),
        ("--format=csv", False),
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
