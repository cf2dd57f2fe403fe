"""The profiles smoke, cpu and gpu: each training that a notebook asks for is possible.

No notebook is run. An assignment that calls nothing, such as that of the table of steps
by profile, is executed; then the keywords of each `TrainConfig` that need no more than
these are evaluated, and the config checks its fields.
"""

import ast
import builtins

import pytest

from mssedu.course.build import texts
from mssedu.course.notebook import PROFILES, Session
from mssedu.training import TrainConfig

TREES = {text.stem: ast.parse(text.read_text("utf-8")) for text in texts()}


def nodes(tree, kind):
    """Nodes of a kind, in the order of the text."""
    found = [node for node in ast.walk(tree) if isinstance(node, kind)]
    return sorted(found, key=lambda node: (node.lineno, node.col_offset))


def known(tree, names):
    """Whether code needs no more than these names, builtins and the session."""
    reads = [node for node in nodes(tree, ast.Name) if isinstance(node.ctx, ast.Load)]
    of_session = {f"session.{name}" for name in ("profile", "seed", "device")}
    return (
        {node.id for node in reads} <= {*names, *vars(builtins)}
        and {ast.unparse(node) for node in nodes(tree, ast.Attribute)} <= of_session
        and {ast.unparse(node.slice) for node in nodes(tree, ast.Subscript)}
        <= {"session.profile"}
    )


def settings(tree, profile):
    """What is known of each TrainConfig of a notebook under a profile, as keywords."""
    names = {"session": Session(profile, seed=0)}
    for node in nodes(tree, ast.Assign):
        if not nodes(node, ast.Call) and known(node, names):
            exec(compile(ast.Module([node], []), "notebook", "exec"), names)
    found = []
    for call in nodes(tree, ast.Call):
        if getattr(call.func, "attr", "") != "TrainConfig":
            continue
        words = {}
        for word in call.keywords:
            if known(word.value, names):
                code = compile(ast.Expression(word.value), "notebook", "eval")
                value = eval(code, names)
                words |= value if word.arg is None else {word.arg: value}
        found.append(words)
    return found


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", TREES)
def test_each_profile_can_train(name, profile):
    device = "cuda" if profile == "gpu" else "cpu"
    for words in settings(TREES[name], profile):
        assert TrainConfig(**words).device == device, "write device=session.device"


@pytest.mark.parametrize("name", TREES)
def test_a_table_of_profiles_has_all_of_them(name):
    for table in nodes(TREES[name], ast.Dict):
        keys = [key.value for key in table.keys if isinstance(key, ast.Constant)]
        if {*keys} & {*PROFILES}:
            assert keys == [*PROFILES]


def test_the_profiles_make_a_difference():
    sizes = {
        profile: [
            words["steps"]
            for tree in TREES.values()
            for words in settings(tree, profile)
            if "steps" in words
        ]
        for profile in PROFILES
    }
    n_longer = [
        sum(a < b for a, b in zip(sizes[short], sizes[long], strict=True))
        for short, long in (("smoke", "cpu"), ("cpu", "gpu"))
    ]
    assert min(n_longer) >= 6


@pytest.mark.parametrize("name", TREES)
def test_no_device_is_written_into_a_cell(name):
    for word in nodes(TREES[name], ast.keyword):
        assert word.arg != "device" or not isinstance(word.value, ast.Constant)
    calls = [call for call in nodes(TREES[name], ast.Call) if call.args]
    moved = [call for call in calls if getattr(call.func, "attr", "") == "to"]
    assert not [call for call in moved if isinstance(call.args[0], ast.Constant)]
