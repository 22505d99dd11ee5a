"""What is written under attributes: the docstrings of fields and enum members, read from the source.

Used by the generators of schemas and pages and by the tests, never by a running program.
"""

import ast
import inspect
from enum import Enum
from functools import cache
from types import ModuleType

from pydantic import BaseModel

__all__ = ["attribute_docs"]


def attribute_docs(kind: type[BaseModel] | type[Enum]) -> dict[str, str]:
    """The docstrings under the attributes of a class and of those it is made from, by attribute."""
    found: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        if parent.__module__.startswith("plumbline_"):
            found |= _module_docs(inspect.getmodule(parent)).get(parent.__name__, {})
    return found


@cache
def _module_docs(module: ModuleType | None) -> dict[str, dict[str, str]]:
    if module is None:
        return {}
    classes = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)]
    return {node.name: _class_docs(node) for node in classes}


def _class_docs(node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for statement, following in zip(node.body, node.body[1:], strict=False):
        text = _text_of(following)
        if text is not None:
            found |= dict.fromkeys(_targets(statement), inspect.cleandoc(text))
    return found


def _text_of(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def _targets(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return []
