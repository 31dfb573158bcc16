"""Which modules of the package import which, read from the source without running it."""

import ast
from pathlib import Path

PACKAGE = "Resnet23"
ROOT = Path(__file__).resolve().parent.parent


def module_files() -> dict[str, Path]:
    """Every module of the package, by its name without the package's: {"modeling.train": Path(...)}.

    A sub-package whose `__init__` holds code is the module of its name; the empty ones are left out.
    """
    files = {}
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = file.relative_to(ROOT / PACKAGE).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if parse(file).body:
            files[name] = file
    return files


def imported_names(tree: ast.Module) -> set[str]:
    """Everything that a module imports as dotted names, in functions too, but not what it does only as a command."""
    names = set()
    nodes = [statement for statement in tree.body if not _is_main_block(statement)]
    for node in (each for statement in nodes for each in ast.walk(statement)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports in the package are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _is_main_block(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'"


def parse(file: Path) -> ast.Module:
    """The syntax tree of a source file."""
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def imported_modules(file: Path) -> set[str]:
    """The package's own modules that a source file imports."""
    files = module_files()
    found = set()
    for name in imported_names(parse(file)):
        package, _, path = name.partition(".")
        if package == PACKAGE:
            found |= {path} & files.keys() or {path.rpartition(".")[0]} & files.keys()
    return found


def reachable_modules(start: str, excluded: set[str] = frozenset()) -> set[str]:
    """`start` and every module that it imports, directly or not, without going through an excluded one."""
    files = module_files()
    seen, waiting = set(), [start]
    while waiting:
        module = waiting.pop()
        if module not in seen and module not in excluded:
            seen.add(module)
            waiting += imported_modules(files[module])
    return seen
