"""Who may import whom, and that importing costs and says nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mssedu

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "mssedu").rglob("*.py"))

# DESIGN section 1: a folder imports from the lines above its own, and from no neighbor.
LAYERS = (
    ("errors",),
    ("audio", "spectral"),
    ("masks", "metrics"),
    ("models",),
    ("data", "inspect", "weights"),
    ("separation",),
    ("training", "evaluation", "export"),
    ("figures",),
    ("reports",),
    ("listening", "course"),
    ("cli",),
    ("__main__",),
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
MOST_ENTRIES = 20  # at the top of mssedu
PICTURES = {"matplotlib", "IPython", "ipywidgets", "anywidget"}  # from figures on
LATE = {"torchaudio", "museval", "musdb", "librosa"}  # inside functions only


def dotted(path):
    """mssedu/models/spleeter.py -> mssedu.models.spleeter."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): ast.parse(path.read_text("utf-8")) for path in FILES}
CHECKED = [name for name in MODULES if name != "mssedu"]  # mssedu loads lazily


def folder(module):
    """mssedu.models.spleeter -> models."""
    return module.split(".")[1]


def imports(tree):
    """Every module that a tree imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node.module
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from inner & MODULES.keys()


def imported(module):
    """The modules of mssedu that a module imports, the package itself left out."""
    own = {name for name in imports(MODULES[module]) if name.startswith("mssedu.")}
    return own - {module}


def imported_at_the_top(tree):
    """First part of every import outside functions."""
    todo = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (name.split(".")[0] for name in imports(node))
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += ast.iter_child_nodes(node)


def test_the_house_has_few_doors():
    entries = [path.name for path in (ROOT / "mssedu").iterdir()]
    entries = [name for name in entries if name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES
    assert {name.removesuffix(".py") for name in entries} <= {*LAYER, "__init__"}


@pytest.mark.parametrize("module", CHECKED)
def test_a_folder_imports_from_the_lines_above_only(module):
    here = folder(module)
    for other in imported(module):
        there = folder(other)
        assert LAYER[there] < LAYER[here] or here == there, f"{module} imports {other}"


@pytest.mark.parametrize(
    "module", [m for m in CHECKED if "models" in m and "blocks" not in m]
)
def test_architectures_never_import_each_other(module):
    """But a variant, such as htdemucs_levels, imports what it is a variant of."""
    table = mssedu.models
    files = {f"mssedu.models.{table.FILES.get(name, name)}" for name in table.MODELS}
    allowed = {"mssedu.models.hdemucs"} if "htdemucs_" in module else set()
    allowed |= {module.rpartition("_")[0]}
    assert module not in files or not imported(module) & files - allowed


def test_no_module_imports_itself_on_a_detour():
    done, path = set(), []

    def visit(module):
        assert module not in path, f"circle: {' -> '.join([*path, module])}"
        if module not in done:
            path.append(module)
            for other in sorted(imported(module) & MODULES.keys()):
                visit(other)
            done.add(path.pop())

    for module in CHECKED:
        visit(module)


@pytest.mark.parametrize("module", CHECKED)
def test_only_the_last_layers_draw_pictures(module):
    roots = {name.split(".")[0] for name in imports(MODULES[module])}
    assert LAYER[folder(module)] >= LAYER["figures"] or not roots & PICTURES


@pytest.mark.parametrize("module", CHECKED)
def test_witnesses_are_imported_inside_the_function_that_needs_them(module):
    assert not LATE & {*imported_at_the_top(MODULES[module])}


def test_the_layers_would_notice_a_violation():
    tree = ast.parse(
        "def f():\n    import mssedu.cli.commands\nif True:\n    import librosa.feature"
    )
    assert {*imports(tree)} == {"mssedu.cli.commands", "librosa.feature"}
    assert {*imported_at_the_top(tree)} == {"librosa"}


def run(program):
    """Run a program that must end well and say nothing on stderr; what it wrote."""
    words = [sys.executable, "-c", program]
    answer = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


def test_importing_mssedu_loads_neither_torch_nor_matplotlib():
    program = "import sys, mssedu; print({'torch', 'matplotlib'} & {*sys.modules})"
    assert run(program) == "set()\n"


def test_help_loads_neither_torch_nor_matplotlib():
    program = """
import contextlib, io, sys
from mssedu.cli import main
sys.argv = ["mssedu", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as shown:
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
assert "separate" in shown.getvalue(), shown.getvalue()
print({"torch", "matplotlib"} & {*sys.modules})
"""
    assert run(program) == "set()\n"


def test_importing_is_silent():
    names = sorted(name for name in MODULES if not name.endswith("__main__"))
    program = f"import importlib\nfor name in {names}: importlib.import_module(name)"
    assert run(program) == ""
