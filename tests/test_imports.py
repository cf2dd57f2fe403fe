"""Who may import whom, and that importing costs and says nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mssedu

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "mssedu").rglob("*.py"))

# Each row imports rows above it only. A folder counts as one name; its files may import
# one another, except models: an architecture is read without looking at its neighbors.
ROWS = (
    ("checks", "threads"),
    ("audio", "spectral", "stems", "contract", "statistics", "tables"),
    ("masks", "blocks", "bag", "losses", "metrics", "bss_eval", "bleed"),
    ("models",),
    ("registry", "pretrained", "checkpoint"),
    ("datasets", "augment", "separate"),
    (
        *("evaluate", "error_analysis", "train", "distributed"),
        *("export", "complexity", "look_inside"),
    ),
    ("experiment",),
    ("figures", "report"),
    ("listening", "exercises", "notebook", "demo", "analysis_report"),
    ("cli", "doctor", "console"),
)
ROW = {name: number for number, names in enumerate(ROWS, 1) for name in names}
# Files that would be one with another, were files not kept short
PARTS = {
    "audio": ("audio_files",),
    "separate": ("separate_files", "separation"),
    "complexity": ("receptive_field",),
    "evaluate": ("evaluation",),
    "cli": ("commands",),
    "report": ("page",),
    "error_analysis": ("error_song", "error_windows"),
    "metrics": ("spectral_metrics",),
    "bss_eval": ("bss_filters",),
    "train": ("training",),
}
PART_OF = {part: whole for whole, parts in PARTS.items() for part in parts}
# The few that need a neighbor of their own row: who -> whom
NEIGHBORS = {
    ("checkpoint", "registry"),  # a checkpoint names the model that it is made for
    ("pretrained", "checkpoint"),  # load_model reads our own files as well
    ("pretrained", "registry"),  # weights need their model
    ("datasets", "augment"),  # random segments are augmented as they are drawn
    ("error_analysis", "evaluate"),  # both take estimates from the same places
    ("notebook", "exercises"),  # a notebook page shows its exercises
    ("cli", "doctor"),  # `mssedu doctor`
    ("cli", "console"),  # what it prints
}
PICTURES = {"matplotlib", "IPython", "ipywidgets", "anywidget"}  # rows 9 and below
LATE = {"torchaudio", "museval", "musdb", "librosa"}  # inside functions only


def dotted(path):
    """mssedu/models/spleeter.py -> mssedu.models.spleeter."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): ast.parse(path.read_text("utf-8")) for path in FILES}
CHECKED = [name for name in MODULES if name != "mssedu"]  # mssedu loads lazily


def unit(module):
    """The name of the table that a module of mssedu belongs to."""
    name = module.split(".")[1]
    return PART_OF.get(name, name)


def imports(tree):
    """Every module that a tree imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield from [inner] if inner in MODULES else []
                yield from lazily(alias.name) if node.module == "mssedu" else ()
        elif isinstance(node, ast.Attribute) and is_package(node.value):
            yield from lazily(node.attr)


def is_package(node):
    return isinstance(node, ast.Name) and node.id == "mssedu"


def lazily(name):
    """The module behind mssedu.create_model and the like."""
    if name in mssedu._FUNCTIONS:
        yield mssedu._FUNCTIONS[name]
    elif name in mssedu._MODULES:
        yield f"mssedu.{name}"


def imported(module):
    """The modules of mssedu that a module imports, the lazy package itself left out."""
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


@pytest.mark.parametrize("module", CHECKED)
def test_every_module_has_its_row(module):
    assert unit(module) in ROW, "give it a row in DESIGN's table and in ROWS"


@pytest.mark.parametrize("module", CHECKED)
def test_modules_import_rows_above_them_only(module):
    here = unit(module)
    for other in imported(module):
        there = unit(other)
        allowed = ROW[there] < ROW[here] or (here, there) in NEIGHBORS
        assert allowed or here == there, f"{module} imports {other}"


@pytest.mark.parametrize("module", [m for m in CHECKED if unit(m) == "models"])
def test_models_never_import_each_other(module):
    assert not [other for other in imported(module) if unit(other) == "models"]


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
def test_only_the_last_rows_draw_pictures(module):
    roots = {name.split(".")[0] for name in imports(MODULES[module])}
    assert ROW[unit(module)] >= ROW["figures"] or not roots & PICTURES


@pytest.mark.parametrize("module", CHECKED)
def test_witnesses_are_imported_inside_the_function_that_needs_them(module):
    assert not LATE & {*imported_at_the_top(MODULES[module])}


def test_the_rows_would_notice_a_violation():
    tree = ast.parse(
        "def f():\n    import mssedu.cli.commands\nif True:\n    import librosa.feature"
    )
    assert {*imports(tree)} == {"mssedu.cli.commands", "librosa.feature"}
    assert {*imported_at_the_top(tree)} == {"librosa"}
    for text in ("mssedu.separate(x)", "from mssedu import separate"):
        assert "mssedu.separate" in {*imports(ast.parse(text))}


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
from mssedu.cli.commands import main
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
