"""Exercises without their solutions, for the package that students get.

Python has to read a check in order to run it. So the checks are packed, not locked: a
student does not come across an answer by opening a file or by `.solution()`, but one
who knows Python can unpack them. docs/teaching.md says what follows for grades.
"""

import ast
import base64
import zlib
from typing import Any

SEAL = "packed:"


def seal(text: str) -> str:
    """Pack a text, so that it cannot be read at a glance.

    Example:
        >>> unseal(seal("answer = 42"))
        'answer = 42'
    """
    packed = zlib.compress(text.encode("utf-8"), level=9)
    return SEAL + base64.b85encode(packed).decode("ascii")


def unseal(text: str) -> str:
    """The text that `seal` has packed; a text that is not packed stays as it is."""
    if not text.startswith(SEAL):
        return text
    packed = base64.b85decode(text.removeprefix(SEAL).strip())
    return zlib.decompress(packed).decode("utf-8")


def without_solutions(source: str, questions: dict[str, tuple[str, str]]) -> str:
    """A topic file whose exercises have no solution and no list of wrong answers.

    A solution stays as a function where a check compares with it. What nothing uses any
    more is left out.

    Args:
        source: Python of the file.
        questions: for the name of each check (`_verify_mix`), question and starter.
    """
    tree = ast.parse(source)
    for node in tree.body:
        call = checks_of(node)
        if call is None or not isinstance(node, ast.FunctionDef):
            continue
        question, starter = questions[node.name]
        call.args = [ast.Constant("")]
        kept = [word for word in call.keywords if word.arg in ("hints", "noticed")]
        new = {"wrong": (), "question": question, "starter": starter}
        call.keywords = [*kept, *(_keyword(name, value) for name, value in new.items())]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    while unused := _unused(tree):
        tree.body = [node for node in tree.body if node not in unused]
    return ast.unparse(ast.fix_missing_locations(tree))


def sealed_module(source: str) -> str:
    """The text of a module that unpacks and runs this source when it is imported."""
    return (
        '"""Exercises with packed checks; the solutions are with the teacher."""\n\n'
        "from mssedu.course.exercises.sealed import unseal\n\n"
        f"exec(unseal({seal(source)!r}))\n"
    )


def checks_of(node: ast.AST) -> ast.Call | None:
    """The call `@checks(…)` above a function, if there is one."""
    for decorator in getattr(node, "decorator_list", []):
        is_call = isinstance(decorator, ast.Call)
        if is_call and isinstance(decorator.func, ast.Name):
            return decorator if decorator.func.id == "checks" else None
    return None


def _keyword(name: str, value: Any) -> ast.keyword:
    constant = ast.Tuple([], ast.Load()) if value == () else ast.Constant(value)
    return ast.keyword(name, constant)


def _unused(tree: ast.Module) -> list[ast.stmt]:
    """Functions and values of a module that nothing else in it refers to."""
    found: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and checks_of(node) is None:
            names = {node.name}
        elif isinstance(node, ast.Assign):
            names = {name.id for name in node.targets if isinstance(name, ast.Name)}
        else:
            continue
        others = (other for other in tree.body if other is not node)
        used = {
            name.id
            for other in others
            for name in ast.walk(other)
            if isinstance(name, ast.Name)
        }
        if not names & used:
            found.append(node)
    return found
