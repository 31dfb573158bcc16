"""The options of a module's `main`, read from its source without running it: what completion needs, at once.

Importing the module would tell as much, and take PyTorch seconds. A test holds the two equal for every command.
"""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from Resnet23.commands.suggestions import SUGGESTIONS

PACKAGE = Path(__file__).resolve().parent.parent
Place = tuple[ast.Module, ast.expr]  # an expression, and the module whose names it uses


def outlined_function(module: str) -> Callable[..., None]:
    """A function that does nothing and has the parameters of the module's `main`, as Typer reads them."""
    tree = _parse(module)
    main = next(_find_functions(tree, "main"), None)
    if main is None:  # taken over from another module
        return outlined_function(next(source for source, name in _imports(tree) if name == "main"))
    defaults = [None] * (len(main.args.args) - len(main.args.defaults)) + main.args.defaults

    def outlined(**_: Any) -> None:
        """Stands in for the command."""

    outlined.__signature__ = inspect.Signature(
        [
            _parameter(module, argument.arg, _resolve(tree, argument.annotation), is_required=default is None)
            for argument, default in zip(main.args.args, defaults, strict=True)
        ]
    )
    return outlined


def _parameter(module: str, name: str, place: Place, is_required: bool) -> inspect.Parameter:
    """A parameter with the names of its option or as an argument, its kind of value and what may be suggested."""
    tree, annotation = place
    declared = None
    if _name(annotation) == "Annotated":
        annotation, declared = annotation.slice.elts[0], annotation.slice.elts[1]
    suggest = SUGGESTIONS.get((module, name)) or SUGGESTIONS.get(("", name))
    if _name(declared) == "Argument" or (declared is None and is_required):
        info = typer.Argument(autocompletion=suggest)
    else:
        arguments = declared.args if declared else []
        help_text = next((_text(keyword.value) for keyword in declared.keywords if keyword.arg == "help"), "")
        info = typer.Option(*map(_text, arguments), help=help_text, autocompletion=suggest)
    kind = Annotated[_kind(*_resolve(tree, annotation)), info]
    keyword, default = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty if is_required else None
    return inspect.Parameter(name, keyword, default=default, annotation=kind)


def _kind(tree: ast.Module, annotation: ast.expr) -> Any:
    """The type as far as completion cares: a flag, one of some words, a list of texts, or a text."""
    if isinstance(annotation, ast.BinOp):  # X | None
        return _kind(*_resolve(tree, annotation.left))
    if _name(annotation) == "bool":
        return bool
    if _name(annotation) == "list":
        return list[str]
    if _name(annotation) == "Literal":
        words = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return Literal[tuple(map(_text, words))]
    return str


def _resolve(tree: ast.Module, expression: ast.expr) -> Place:
    """What a name stands for: an assignment at the top of its module, or of the module that it is imported from."""
    if not isinstance(expression, ast.Name):
        return tree, expression
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and expression.id in map(_name, statement.targets):
            return _resolve(tree, statement.value)
    for source, name in _imports(tree):
        if name == expression.id:
            return _resolve(_parse(source), expression)
    return tree, expression


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The module and the name of everything that is taken from modules of this package."""
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module.startswith(f"{PACKAGE.name}."):
            yield from ((statement.module, alias.name) for alias in statement.names)


def _find_functions(tree: ast.Module, name: str) -> Iterator[ast.FunctionDef]:
    return (each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == name)


def _parse(module: str) -> ast.Module:
    """The source of one of our modules; Python's own search would import the packages that it lies in."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _name(expression: ast.expr | None) -> str:
    """The last name in `typer.Option(...)`, `Literal[...]` or `bool`; empty for anything else."""
    if isinstance(expression, ast.Call):
        return _name(expression.func)
    if isinstance(expression, ast.Subscript):
        return _name(expression.value)
    return getattr(expression, "attr", None) or getattr(expression, "id", "")


def _text(expression: ast.expr) -> str:
    """A text that is written out, else nothing."""
    return str(expression.value) if isinstance(expression, ast.Constant) else ""
