"""What a formatter does not see: budgets, docstrings, words, errors, test folders."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from mssedu import errors

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in sorted((ROOT / "mssedu").rglob("*.py"))
}
MODELS = [name for name in FILES if name.startswith("mssedu/models/")]
TREES = {name: ast.parse(text) for name, text in FILES.items()}

LINES, CODE_LINES, FUNCTION_LINES, FIELDS = 500, 350, 55, 16
DOCSTRING_LINES = 25

# DESIGN §3 has one word for each of these; the other spelling -> that word
WORDS = {
    **dict.fromkeys(("sr", "samplerate", "sampling_rate", "fs"), "sample_rate"),
    **dict.fromkeys(("nfft", "n_hop", "nhop", "hop_size"), "n_fft, hop_length"),
    **dict.fromkeys(("nb_channels", "num_channels"), "channels"),
    **dict.fromkeys(("y_hat", "gt", "est", "ref"), "estimate, reference"),
    **dict.fromkeys(("seq_dur", "seq_len"), "segment"),
    **dict.fromkeys(("mag", "spec", "specs"), "magnitude, spectrogram"),
    **dict.fromkeys(("mixtures", "mix_wav", "wav"), "mixture"),
}
ERRORS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.MssEduError)
}
# What Python itself expects: of __getattr__, of an index, of a program's end; and what
# tornado does: a request that ends early
OTHERS = {"AttributeError", "IndexError", "KeyboardInterrupt", "SystemExit"}
OTHERS |= {"HTTPError"}
# What a student's answer meets: a stub not filled in, a wrong value, a failed check
IN_EXERCISES = {"NotImplementedError", "Wrong", "AssertionError"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def named(kind):
    """All nodes of a kind, with their place: [("mssedu/audio.py:12", node) …]."""
    return [
        (f"{name}:{node.lineno}", node)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, kind)
    ]


def docstring_lines(tree):
    """Numbers of the lines that docstrings take."""
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | Function)
        if documented and ast.get_docstring(node) is not None:
            yield from range(node.body[0].lineno, node.body[0].end_lineno + 1)


def code_lines(text):
    """How many lines hold code: no docstring, no comment, no blank line."""
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER}
    blank |= {tokenize.INDENT, tokenize.DEDENT}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in blank:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - {*docstring_lines(ast.parse(text))})


def body_lines(node):
    """How many lines a function has below its docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def n_arguments(node):
    """How many arguments a function has, each of which takes a line to explain."""
    if isinstance(node, ast.ClassDef):
        return 0
    return len(node.args.args) + len(node.args.kwonlyargs)


def is_public(node):
    return not node.name.startswith("_")


def is_promise(node):
    """Whether a function of a Protocol: its body is "..." alone."""
    return ast.unparse(node.body) == "..."


def raised_name(node):
    """The class or function that a raise calls; None where it passes an error on."""
    call = node.exc.func if isinstance(node.exc, ast.Call) else None
    return getattr(call, "attr", getattr(call, "id", None))


# ---- budgets ------------------------------------------------------------------------


def test_code_lines_counts_code_only():
    text = (
        '"""Doc.\n\nMore."""\n\n# why\nx = [\n    1,\n]\n\n\ndef f():\n    """Doc."""\n'
    )
    assert code_lines(text) == 4


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_in_ten_minutes(name):
    assert len(FILES[name].splitlines()) <= LINES, name
    assert code_lines(FILES[name]) <= CODE_LINES, name


def test_a_function_fits_on_a_screen():
    too_long = [
        (place, node.name)
        for place, node in named(Function)
        if body_lines(node) > FUNCTION_LINES
    ]
    assert not too_long


@pytest.mark.parametrize("name", MODELS)
def test_a_config_has_few_fields(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
            fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
            assert len(fields) <= FIELDS, node.name


def is_packed(node):
    """Whether a call or a display unpacks what is written out on the spot."""
    literal = ast.Tuple | ast.List
    items = getattr(node, "args", getattr(node, "elts", []))
    keywords = getattr(node, "keywords", [])
    return any(
        isinstance(item, ast.Starred) and isinstance(item.value, literal)
        for item in items
    ) or any(
        k.arg is None
        and isinstance(k.value, ast.Dict)
        and any(isinstance(key, ast.Constant) for key in k.value.keys)
        for k in keywords
    )


def test_arguments_are_not_packed_to_please_a_formatter():
    """`f(*(a, b))` and `f(**{...})` hide which argument is which."""
    packed = []
    for folder in ("mssedu", "tests", "benchmarks", "docs", "notebooks/py"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call | ast.Tuple | ast.List | ast.Set):
                    packed += [f"{path}:{node.lineno}"] * is_packed(node)
    assert not packed


# ---- docstrings and words -----------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_every_file_opens_with_its_purpose(name):
    assert ast.get_docstring(TREES[name])


def test_everything_public_has_a_docstring():
    missing = []
    for name, tree in TREES.items():
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        bodies = [tree.body, *(node.body for node in classes if is_public(node))]
        for node in (node for body in bodies for node in body):
            documented = isinstance(node, Function | ast.ClassDef) and is_public(node)
            if documented and not (ast.get_docstring(node) or is_promise(node)):
                missing.append(f"{name}:{node.lineno} {node.name}")
    assert not missing


def test_docstrings_are_short():
    too_long = [
        (place, node.name)
        for place, node in named(Function | ast.ClassDef)
        if len((ast.get_docstring(node) or "").splitlines())
        > DOCSTRING_LINES + n_arguments(node)
    ]
    assert not too_long


def test_nothing_is_left_for_later():
    mark = re.compile("TO" + "DO|FIX" + "ME|XX" + "X")
    places = [name for name, text in FILES.items() if mark.search(text)]
    places += [
        path.name
        for path in (ROOT / "tests").rglob("*.py")
        if mark.search(path.read_text("utf-8"))
    ]
    assert not places


def test_one_word_for_each_thing():
    names = [(place, node.arg) for place, node in named(ast.arg)]
    for place, node in named(ast.Name):
        if isinstance(node.ctx, ast.Store):
            names.append((place, node.id))
    wrong = [f"{place} {name}: {WORDS[name]}" for place, name in names if name in WORDS]
    assert not wrong


# ---- errors -------------------------------------------------------------------------


def test_errors_are_those_of_the_package():
    makers = {
        node.name
        for _, node in named(Function)
        if isinstance(node.returns, ast.Name) and node.returns.id in ERRORS
    }
    known, wrong = {*ERRORS, *makers, *OTHERS, None}, []
    for place, node in named(ast.Raise):
        here = IN_EXERCISES if place.startswith("mssedu/course/exercises/") else set()
        if raised_name(node) not in known | here:
            wrong.append(f"{place} {raised_name(node)}")
    assert not wrong


def test_a_library_prints_nothing():
    loud = [
        place
        for place, node in named(ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    allowed = ("mssedu/cli/", "mssedu/course/build.py")
    assert not [place for place in loud if not place.startswith(allowed)]


# ---- tests --------------------------------------------------------------------------


FOLDERS = sorted({name.split("/")[1] for name in FILES if name.count("/") > 1})


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_has_its_tests(folder):
    assert any((ROOT / "tests" / folder).glob("test_*.py"))
