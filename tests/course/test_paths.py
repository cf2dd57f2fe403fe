"""Headers and tables of the chapters: abstract, minutes, short path, GPU path, links.

The minutes are computed here, by the rule that docs/teaching.md states. The short path
leaves a section out if MARK stands under its heading.
"""

import functools
import re
import tomllib
from collections import Counter
from pathlib import Path

import nbformat
import pytest

from mssedu.course.build import notebook_path, texts
from mssedu.course.build import read as read_text
from mssedu.course.exercises import exercise, list_exercises
from mssedu.course.notebook import show_source

ROOT = Path(__file__).resolve().parents[2]
TEXTS = texts()
ABSTRACTS = tomllib.loads((ROOT / "docs" / "abstracts.zh.toml").read_text("utf-8"))
LONGEST = 100  # minutes that one sitting may take
MARK = "*Optional: leave out on the short path.*"
LEFT_OUT = re.compile(r"^\*Optional: leave out (`.+) on the short path\.\*$", re.M)
PATH = re.compile(
    r"^\| Path \| (?:core, (\d+) minutes on|optional, not on) the short path"
    r"(; on the GPU path)? \|$",
    re.M,
)
TIME = re.compile(
    r"^\| Time \| (\d+) minutes(?: in two sittings: Part A (\d+), Part B (\d+))?; "
    r"the code runs in (under a minute|one to four minutes) on two CPU cores",
    re.M,
)
NEXT = re.compile(r"\[(\d\d) · ([^\]]+)\]\((\w+)\.ipynb\)")
ROW = re.compile(r"^\| (\d\d) \| .+ \| (\d+) \| (\d+|–) \| ?(●?) ?\|$", re.M)


# ---- what a chapter says, and what it takes -----------------------------------------


@functools.cache
def read(text):
    return read_text(text)


def names(line):
    """The names of exercises in a line: `metrics.nsdr`."""
    return set(re.findall(r"`(\w+\.\w+)`", line))


def header(text):
    """Whole, short, A and B in minutes (0 if there is none), and whether on a GPU."""
    first = read(text).cells[0].source
    whole, part_a, part_b, _ = TIME.search(first).groups()
    short, gpu = PATH.search(first).groups()
    minutes = {"whole": whole, "short": short, "A": part_a, "B": part_b}
    return {name: int(value or 0) for name, value in minutes.items()} | {"gpu": gpu}


def minutes_of_code(source):
    """Minutes that a cell takes to read, to hear and to try."""
    if asked := re.fullmatch(r'exercise\("(\w+\.\w+)"\)', source.strip()):
        return 9 if asked[1].endswith(".quiz") else 10
    if shown := re.fullmatch(r'show_source\("([\w.]+)"\)', source.strip()):
        return (len(repr(show_source(shown[1])).splitlines()) - 4) / 20
    lines = [line for line in source.splitlines() if line.strip()]
    sounds = len(re.findall(r"\bplay\(", source))
    widgets = len(re.findall(r"\b(?:ABSwitch|StemMixer|MaskLab|ChunkLab)\(", source))
    tests = len(re.findall(r"(?m)^\w.*ListeningTest\(", source))
    return len(lines) / 25 + 0.5 * sounds + widgets + 10 * tests


def stretches(text):
    """(part, whether it is left out on the short path, minutes) of all that is read."""
    cells = read(text).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    optional = names(" ".join(LEFT_OUT.findall(prose)))
    lists = dict(re.findall(r"^- Part ([AB]): (`.+)$", prose, re.M))
    part_of = {id: part for part, line in lists.items() for id in names(line)}
    part, left_out = "", 0  # left_out: the level of the heading that has the mark
    for cell in cells:
        if cell.cell_type == "code":
            asked = re.fullmatch(r'exercise\("(\w+\.\w+)"\)', cell.source.strip())
            id = asked[1] if asked else ""
            out = id in optional if asked else bool(left_out)
            yield part_of.get(id, part), out, cell_minutes(cell)
            continue
        for stretch in re.split(r"(?m)^(?=#{1,3} )", cell.source):
            level = len(stretch) - len(stretch.lstrip("#"))
            if found := re.match(r"# Part ([AB])", stretch):
                part = found[1]
            if 0 < level <= left_out or stretch.startswith("## What to remember"):
                left_out = 0
            left_out = level if MARK in stretch.splitlines() else left_out
            yield part, bool(left_out), len(stretch.split()) / 140


def cell_minutes(cell):
    is_answer = "exercise" in cell.metadata.get("tags", [])
    return 0 if is_answer else minutes_of_code(cell.source)


def needed(text):
    """Minutes of the whole chapter, of its parts, and of what the short path takes."""
    built = notebook_path(text)
    run = 0.0
    if built.exists():
        run = nbformat.read(built, as_version=4).metadata.mssedu.seconds / 60
    sums = Counter({"whole": run, "short": run / 2, "A": run / 2, "B": run / 2})
    for part, left_out, minutes in stretches(text):
        sums["whole"] += minutes
        sums[part or "A"] += minutes
        sums["short"] += 0 if left_out else minutes
    return sums


def table(path):
    """The rows of a table of chapters: number -> minutes, short path, GPU path."""
    rows = ROW.findall((ROOT / path).read_text("utf-8"))
    return {number: tuple(cells) for number, *cells in rows}


# ---- headers ------------------------------------------------------------------------


@pytest.fixture(params=TEXTS, ids=lambda text: text.stem)
def text(request):
    return request.param


def test_there_is_an_abstract_for_each_chapter():
    assert list(ABSTRACTS) == [text.name[:2] for text in TEXTS]


def test_the_abstract_stands_under_the_title(text):
    title, empty, abstract = read(text).cells[0].source.splitlines()[:3]
    wanted = "".join(ABSTRACTS[text.name[:2]].split("\n"))
    assert title.startswith(f"# {text.name[:2]} · ")
    assert (empty, abstract) == ("", f"> {wanted}")
    assert 150 <= len("".join(wanted.split())) <= 250


def test_the_minutes_are_those_of_the_rule(text):
    said, wanted = header(text), needed(text)
    names_said = ["whole", *(name for name in ("short", "A", "B") if said[name])]
    far = {
        name: wanted[name] for name in names_said if abs(said[name] - wanted[name]) > 5
    }
    assert not far
    assert all(said[name] % 5 == 0 for name in names_said)


def test_a_long_chapter_has_two_parts(text):
    said = header(text)
    assert said["whole"] <= LONGEST or said["A"]
    if said["A"]:
        assert said["A"] + said["B"] == said["whole"]
        assert max(said["A"], said["B"]) <= LONGEST
    prose = [cell.source for cell in read(text).cells if cell.cell_type == "markdown"]
    breaks = re.findall(r"^# Part ([AB]) · ", "\n".join(prose), re.M)
    assert breaks == (["A", "B"] if said["A"] else [])
    lists = re.findall(r"^- Part [AB]: .+$", "\n".join(prose), re.M)
    asked = set(list_exercises(text.name[:2])) if said["A"] else set()
    assert names(" ".join(lists)) == asked


def test_marks_are_where_the_short_path_leaves_something_out(text):
    prose = "\n".join(c.source for c in read(text).cells if c.cell_type == "markdown")
    marked = prose.count(MARK) + len(LEFT_OUT.findall(prose))
    below = re.findall(rf"^#+ .+\n\n{re.escape(MARK)}$", prose, re.M)
    assert prose.count(MARK) == len(below), "a mark stands under a heading"
    for id in names(" ".join(LEFT_OUT.findall(prose))):
        assert exercise(id).id in list_exercises(text.name[:2])
    said = header(text)
    assert bool(marked) == (0 < said["short"] < said["whole"])


def test_the_header_links_to_the_next_chapter(text):
    number = int(text.name[:2])
    line = re.search(r"^\| Next \| .+$", read(text).cells[0].source, re.M)[0]
    later = [other for other in TEXTS if int(other.name[:2]) > number]
    short = [other for other in later if header(other)["short"]]
    wanted = later[:1] + (short[:1] if header(text)["short"] else [])
    wanted = list(dict.fromkeys(wanted))
    assert [stem for _, _, stem in NEXT.findall(line)] == [w.stem for w in wanted]
    for other, (digits, title, _) in zip(wanted, NEXT.findall(line), strict=True):
        assert read(other).cells[0].source.startswith(f"# {digits} · {title}\n")


# ---- tables -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["README.md", "README.zh.md", "docs/teaching.md"])
def test_a_table_says_what_the_headers_say(path):
    rows = table(path)
    assert list(rows) == [text.name[:2] for text in TEXTS]
    for text in TEXTS:
        said = header(text)
        short = str(said["short"]) if said["short"] else "–"
        gpu = "●" if said["gpu"] else ""
        assert rows[text.name[:2]] == (str(said["whole"]), short, gpu)


def test_the_paths_take_as_long_as_the_pages_say():
    said = [header(text) for text in TEXTS]
    whole = sum(chapter["whole"] for chapter in said)
    short = sum(chapter["short"] for chapter in said)
    gpu = sum(chapter["whole"] for chapter in said if chapter["gpu"])
    assert 7 * 60 <= short <= 9 * 60
    page = (ROOT / "docs" / "teaching.md").read_text("utf-8")
    sums = re.search(
        r"\*\*whole course\*\*: (\d+) min.*\*\*short path\*\*: (\d+) min"
        r".*\*\*GPU path\*\*: (\d+) min",
        page,
        re.S,
    )
    assert [int(number) for number in sums.groups()] == [whole, short, gpu]


def test_the_gpu_path_trains_larger_models_or_has_commands_for_it():
    for text in TEXTS:
        if header(text)["gpu"]:
            assert re.search(r'"gpu"|GPU', text.read_text("utf-8"))
