"""Find every guard that keeps hospitals apart in the product's code, and take one away for a while.

A guard is found by what it says, so that one which is written tomorrow is found as well:

    hospital_scope(x)             opens the scope of one hospital; without it: of all of them
    scope.narrow(where)           adds the hospital to a filter;   without it: the bare filter
    scope.holds(x)                refuses another hospital's;      without it: holds anything
    .filter(hospital_id=x, ...)   asks for the hospital by name;   without it: asks for any
    {"hospital_id": x, ...}       the same in MongoDB's terms
"""

import ast
import copy
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

from drservice.testing.tenant_commands import OURS, REPOSITORY

HOSPITAL = frozenset({"hospital", "hospital_id"})
QUESTIONS = frozenset({"filter", "get", "get_or_create", "in_bulk"})
ALL_HOSPITALS = ast.parse(
    "__import__('accounts.scoping').scoping.every_hospital('a guard was taken away')", mode="eval"
).body


@dataclass(frozen=True)
class Guard:
    """One guard: in which function of which module, on which line, and the how manyth node."""

    module: str
    function: str
    line: int
    node: int

    @property
    def name(self) -> str:
        return f"{self.module}.{self.function}"

    def __str__(self) -> str:
        return f"{self.module}.{self.function}, line {self.line}"


def product_modules() -> Iterator[Path]:
    for folder in OURS:
        for path in sorted(Path(folder).rglob("*.py")):
            if not {"tests", "testing", "migrations", "engine"} & set(path.parts):
                yield path


def guards() -> list[Guard]:
    return [guard for path in product_modules() for guard in _guards_of(path)]


def _guards_of(path: Path) -> Iterator[Guard]:
    tree = ast.parse(path.read_text())
    name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for function, body in _functions(tree):
        for number, node in enumerate(ast.walk(body)):
            if _without(node) is not None:
                yield Guard(name, function, node.lineno, number)


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Return the functions of a module and the methods of its classes, with all inside them."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{node.name}.{inner.name}", inner


def _without(node: ast.AST) -> ast.expr | None:
    """Return what stands in a guard's place once it is gone; None for what is no guard."""
    if isinstance(node, ast.Dict):
        return _dict_without(node)
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Name) and node.func.id == "hospital_scope":
        return ALL_HOSPITALS
    if not isinstance(node.func, ast.Attribute):
        return None
    if node.func.attr == "narrow" and len(node.args) == 1:
        return node.args[0]
    if node.func.attr == "holds" and len(node.args) == 1:
        return ast.Constant(True)
    if node.func.attr in QUESTIONS and HOSPITAL & {word.arg for word in node.keywords}:
        kept = [word for word in node.keywords if word.arg not in HOSPITAL]
        return ast.Call(node.func, node.args, kept)
    return None


def _dict_without(node: ast.Dict) -> ast.Dict | None:
    kept = [
        (key, value)
        for key, value in zip(node.keys, node.values, strict=True)
        if not (isinstance(key, ast.Constant) and key.value == "hospital_id")
    ]
    if len(kept) == len(node.keys):
        return None
    return ast.Dict([key for key, _ in kept], [value for _, value in kept])


@contextmanager
def taken_away(guard: Guard) -> Iterator[None]:
    """Run the block without one guard, wherever its function was imported to."""
    module = importlib.import_module(guard.module)
    function = _function_object(module, guard.function)
    before = function.__code__
    function.__code__ = _code_without(guard, Path(module.__file__), before)
    try:
        yield
    finally:
        function.__code__ = before


def _function_object(module, name: str) -> FunctionType:
    owner = module
    *classes, last = name.split(".")
    for one in classes:
        owner = getattr(owner, one)
    found = inspect.getattr_static(owner, last)
    for wrapped in ("__func__", "fget", "func"):
        found = getattr(found, wrapped, found)
    return inspect.unwrap(found)


def _code_without(guard: Guard, path: Path, original: CodeType) -> CodeType:
    tree = ast.parse(path.read_text())
    body = dict(_functions(tree))[guard.function]
    target = list(ast.walk(body))[guard.node]
    changed = ast.fix_missing_locations(_Replacing(target).visit(tree))
    [found] = [
        code
        for code in _code_objects(compile(changed, str(path), "exec"))
        if code.co_qualname == original.co_qualname
    ]
    return found


class _Replacing(ast.NodeTransformer):
    def __init__(self, target: ast.AST) -> None:
        self._target = target

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._target:
            return ast.copy_location(copy.deepcopy(_without(node)), node)
        return self.generic_visit(node)


def _code_objects(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _code_objects(constant)
