"""The small changes of source that benchmarks/mutants.py makes, each one a mutant."""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

COMPARISONS: Final = {
    **{ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")},
    **{ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not")},
    **{ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in")},
}
ARITHMETIC: Final = {
    **{ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*")},
    **{ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "//"), ast.Pow: ("**", "*")},
    **{ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&")},
}
PREFIXES: Final = {ast.Not: "not", ast.Invert: "~", ast.USub: "-"}
OPPOSITES: Final = {
    **{"min": "max", "minimum": "maximum", "any": "all"},
    **{"max": "min", "maximum": "minimum", "all": "any"},
}
TAKE_KEYS: Final = {
    *("get", "pop", "setdefault", "startswith", "endswith", "removeprefix", "removesuffix"),
    *("with_suffix", "with_name", "split", "rsplit", "partition", "rpartition", "join"),
    *("replace", "getattr", "hasattr", "glob", "rglob"),
}
"""Functions whose text arguments are for the program, not for people."""
FOR_PEOPLE: Final = re.compile(r"\w*(Error|Warning)|debug|info|warn\w*|print|echo|show_\w+")
FOR_MYPY: Final = re.compile(r"TypeVar|cast|Literal|Annotated|Float|Int|Bool|UInt8|Shaped|Num")
WITHOUT_EFFECT: Final = {"strict", "stacklevel", "indent", "encoding", "help", "metavar"}
"""Keywords that guard against impossible cases or change a text for people."""
TINY, HUGE, LARGE = 1e-4, 1e4, 16
"""Floats beyond the first two are guards and infinities, which may as well be doubled."""


@dataclass(frozen=True)
class Mutant:
    """One change of a source file.

    Attributes:
        file: The file, from the root of the checkout.
        start: The first byte that changes.
        end: The byte after the last one that changes.
        new: The text in place of these bytes.
        kind: The kind of change.
        source: The unchanged file.
    """

    file: str
    start: int
    end: int
    new: bytes
    kind: str
    source: bytes = field(repr=False)

    @property
    def changed(self) -> bytes:
        """The changed file."""
        return self.source[: self.start] + self.new + self.source[self.end :]

    @property
    def lines(self) -> range:
        """The numbers of the lines that change."""
        first = self.source.count(b"\n", 0, self.start) + 1
        return range(first, self.source.count(b"\n", 0, self.end) + 2)

    @property
    def texts(self) -> tuple[str, str]:
        """The lines before and after the change, with single spaces and without comments."""
        first = self.source.rfind(b"\n", 0, self.start) + 1
        last = self.source.find(b"\n", self.end)
        old = self.source[first:last]
        new = self.source[first : self.start] + self.new + self.source[self.end : last]
        return one_line(old), one_line(new)

    def __str__(self) -> str:
        return f"{self.file}:{self.lines[0]}: {' → '.join(self.texts)}"

    @property
    def makes_another_program(self) -> bool:
        """Whether the changed file can be compiled and is not the same program."""
        with suppress(SyntaxError):
            return ast.dump(ast.parse(self.changed)) != ast.dump(ast.parse(self.source))
        return False


class Changes(ast.NodeVisitor):
    """Collects the mutants of one file in `found`."""

    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source = file, source
        self.starts = [0, *(match.end() for match in re.finditer(b"\n", source))]
        self.found: list[Mutant] = []
        self.keys: set[ast.AST] = set()
        self.visit(ast.parse(source))

    def span(self, node: Any) -> tuple[int, int]:
        """Return the bytes of a node."""
        start = self.starts[node.lineno - 1] + node.col_offset
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset

    def add(self, kind: str, start: int, end: int, new: str) -> None:
        """Keep a change."""
        self.found.append(Mutant(self.file, start, end, new.encode(), kind, self.source))

    def between(self, kind: str, left: ast.AST, right: ast.AST, words: tuple[str, str]) -> None:
        """Change the operator between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        place = self.source.find(words[0].encode(), start, end)
        if place >= 0 and b"#" not in self.source[start:end]:
            self.add(kind, place, place + len(words[0]), words[1])

    def generic_visit(self, node: ast.AST) -> None:
        """Visit what is computed, not types and decorators."""
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list", "bases", "keywords"):
                for each in value if isinstance(value, list) else [value]:
                    if isinstance(each, ast.AST):
                        self.visit(each)

    def visit(self, node: ast.AST) -> None:
        """Visit a node, unless it is an import or a text for people."""
        if not isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
            super().visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value and "TypeAlias" not in ast.unparse(node.annotation):
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if ast.unparse(node.targets[0]) != "__all__":
            self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and not FOR_PEOPLE.fullmatch(name_of(node.value.func)):
            self.add("call left out", *self.span(node), "pass")
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.visit(node.value)

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node.body[-1], ast.Raise) and not node.orelse:
            self.add("bound left out", *self.span(node.test), "False")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        sign = ARITHMETIC.get(type(node.op), ("<<", ""))[0]
        self.between("assigned anew", node.target, node.value, (f"{sign}=", "="))
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            self.between("comparison", left, right, COMPARISONS[type(operator)])
        for operand in operands:
            self.keys.update([operand, *getattr(operand, "elts", ())])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between("and, or", left, right, words)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        # Texts, lists and paths support no other operator: every test would notice.
        values = [getattr(side, "value", None) for side in (node.left, node.right)]
        texts = any(isinstance(value, str | bytes) for value in values)
        lists = isinstance(node.left, ast.List | ast.JoinedStr | ast.Tuple)
        if type(node.op) in ARITHMETIC and not (texts or lists):
            self.between("arithmetic", node.left, node.right, ARITHMETIC[type(node.op)])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        prefix = PREFIXES.get(type(node.op), "")
        start = self.span(node)[0]
        if prefix and not isinstance(node.operand, ast.Constant):
            self.add("sign left out", start, start + len(prefix), "")
        self.generic_visit(node)

    def visit_Slice(self, node: ast.Slice) -> None:
        for bound in (node.lower, node.upper):
            if bound is not None and not isinstance(bound, ast.Constant):
                self.add("slice", *self.span(bound), "")
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not FOR_MYPY.fullmatch(name_of(node.value)):
            self.keys.add(node.slice)
            self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        self.keys.update(key for key in node.keys if key is not None)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = name_of(node.func)
        if FOR_PEOPLE.fullmatch(name) or FOR_MYPY.fullmatch(name):
            return
        end = self.span(node.func)[1]
        if name in OPPOSITES:
            self.add("min, max", end - len(name), end, OPPOSITES[name])
        if name in TAKE_KEYS:
            self.keys.update(node.args)
        for letters in node.args if name in ("strip", "lstrip", "rstrip") else ():
            if isinstance(letters, ast.Constant) and isinstance(letters.value, str):
                self.add("key", *self.span(letters), repr(letters.value[:-1]))
        keywords = [each for each in node.keywords if each.arg not in WITHOUT_EFFECT]
        # A dataclass needs most of its fields.
        if not (isinstance(node.func, ast.Name) and name.lstrip("_")[:1].isupper()):
            given = sorted([*node.args, *node.keywords], key=self.span)
            for each in keywords:
                place = given.index(each)
                start = self.span(given[place - 1])[1] if place else end + 1
                self.add("keyword left out", start, self.span(each)[1], "")
        self.generic_visit(node)
        for each in keywords:
            self.visit(each.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        value, span = node.value, self.span(node)
        if isinstance(value, bool):
            self.add("true, false", *span, str(not value))
        elif isinstance(value, int):
            for new in [2 * value] if value > LARGE else {value + 1, abs(value - 1)}:
                self.add("number", *span, str(new))
        elif isinstance(value, float) and (value == 0 or TINY < value < HUGE):
            self.add("number", *span, str(2 * value or 1.0))
        elif isinstance(value, str | bytes) and node in self.keys:
            self.add("key", *span, repr(value)[:-1] + "~" + repr(value)[-1])


def one_line(code: bytes) -> str:
    """Return code in one line."""
    return " ".join(re.sub(r"(^|\s)# .*", "", code.decode(), flags=re.MULTILINE).split())


def name_of(node: ast.expr) -> str:
    """Return the last part of a name: `max` for `np.max`."""
    return str(getattr(node, "id", getattr(node, "attr", "")))
