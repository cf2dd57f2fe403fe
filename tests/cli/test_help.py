"""`--help` of every command explains every flag in words."""

import re

import pytest

from mssedu.cli.commands import COMMANDS, main
from mssedu.cli.course import SUBCOMMANDS as COURSE
from mssedu.cli.data import SUBCOMMANDS

LISTEN = ("create", "serve", "report", "export")
CALLS = [(command,) for command in COMMANDS]
CALLS += [("listen", subcommand) for subcommand in LISTEN]
CALLS += [("data", subcommand) for subcommand in SUBCOMMANDS]
CALLS += [("course", subcommand) for subcommand in COURSE]

HINT = re.compile(r"\s*\((default: .*|default:|required|optional)\)$", re.DOTALL)
CODE = re.compile(r"->|\bdef |\blambda\b|`_|__|<class|<function|\bNotImplemented\b")


def entries_of(box):
    """The description of a box, and its entries: {"-m MODEL, --model MODEL": help}."""
    description, entries, name = [], {}, None
    if any(set(line) == {"─"} for line in box):
        end = next(i for i, line in enumerate(box) if set(line) == {"─"})
        description, box = box[:end], box[end + 1 :]
    for line in box:
        if line.startswith(" "):
            entries[name] += line.split()
        else:  # flags and help are at least two spaces apart, or on two lines
            name, _, start = line.partition("  ")
            entries[name] = start.split()
    return " ".join(description), {n: " ".join(words) for n, words in entries.items()}


def boxes_of(text):
    """The boxes of a help text, by title: {"input options": lines}."""
    boxes, title = {}, ""
    for line in text.splitlines():
        if line.startswith("╭─"):
            title = line.strip("╭─╮ ")
            boxes[title] = []
        elif line.startswith("│"):
            boxes[title].append(line[2:-1].rstrip())
    return boxes


def help_of(call, capfd):
    with pytest.raises(SystemExit) as stop:
        main([*call, "--help"])
    assert stop.value.code == 0
    return capfd.readouterr().out


def test_boxes_are_read_with_flags_on_one_line_or_two():
    text = """
╭─ speed options ────────────────╮
│ Options that change the speed. │
│ ────────────────────────────── │
│ --size INT   number of chunks  │
│              (default: 1)      │
│ --precision {a,b}              │
│              number format     │
╰────────────────────────────────╯
"""
    boxes = boxes_of(text)
    assert list(boxes) == ["speed options"]
    assert entries_of(boxes["speed options"]) == (
        "Options that change the speed.",
        {
            "--size INT": "number of chunks (default: 1)",
            "--precision {a,b}": "number format",
        },
    )


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_every_flag_is_explained_in_words(call, capfd):
    text = help_of(call, capfd)
    assert text.startswith(f"usage: mssedu {' '.join(call)}")
    boxes = boxes_of(text)
    flags = 0
    for title, box in boxes.items():
        description, entries = entries_of(box)
        assert "(required)" not in description, title
        for name, words in entries.items():
            flags += name.startswith("-")
            words = HINT.sub("", words)
            assert len(words.split()) >= 3, f"{name}: {words!r}"
            assert not CODE.search(words), f"{name}: {words!r}"
            assert "(required)" not in words, f"{name}: {words!r}"
    assert flags == len(re.findall(r"^│ -", text, re.MULTILINE)) > 0
    assert not CODE.search(text.partition("╭")[0])


GROUPS = {
    "separate": ("model", "input", "output", "quality", "speed"),
    "evaluate": ("song", "dataset", "model", "score", "result", "quality", "speed"),
}


@pytest.mark.parametrize(("command", "groups"), GROUPS.items())
def test_flags_come_in_groups(command, groups, capfd):
    titles = [f"{group} options" for group in groups]
    boxes = boxes_of(help_of((command,), capfd))
    assert [title for title in boxes if title in titles] == titles
