"""The glossary has every term that the notebooks print in bold, and its code exists."""

import csv
import importlib
import inspect
import re
from pathlib import Path

import jupytext
import pytest

from mssedu.cli.commands import COMMANDS
from mssedu.cli.course import SUBCOMMANDS
from mssedu.course.build import texts
from mssedu.course.exercises import EXERCISES

FILE = Path(__file__).resolve().parents[2] / "docs" / "glossary.tsv"
COLUMNS = ["English", "中文", "Meaning", "First chapter", "Name in code"]
# Words that are bold for stress, or name a part of a text: they are no terms
STRESS = """after|all|are|average|balance|before|beside|best|by recording
change one thing|control|differences|disagree|during|effects|equal|equally good
for all stems|hardly talk|how far apart|in itself|largest|leaked|magnitudes|multiplies
no|perfect|powers|predict|rest|spectrogram's|the difference|twice|valid|values
waveform's|workers|blocks|1024|dilation without gaps|distance|down|up|published|turn"""
STRESSED = {*STRESS.replace("\n", "|").split("|")}
SENTENCE = 3  # bold texts of more words, or with a stop at their end, are stress

with FILE.open(encoding="utf-8", newline="") as stream:
    HEAD, *ROWS = list(csv.reader(stream, delimiter="\t"))
ENGLISH = [row[0] for row in ROWS]


def test_there_are_rows_of_five_cells():
    assert HEAD == COLUMNS
    assert 150 <= len(ROWS) <= 175
    assert all(len(row) == len(COLUMNS) for row in ROWS)
    assert len({*ENGLISH}) == len(ENGLISH)


@pytest.mark.parametrize("row", ROWS, ids=ENGLISH)
def test_a_row_is_complete(row):
    english, chinese, meaning, chapter, code = row
    assert english == english.strip() != ""
    assert re.search(r"[\u4e00-\u9fff]", chinese)
    assert meaning.endswith(".")
    assert len(meaning) <= 90
    assert chapter in {text.name[:2] for text in texts()}
    if code:
        assert found(code), code


def found(name):
    """Whether a dotted name exists, and its argument: mssedu.spectral.stft(n_fft)."""
    name, _, argument = name.rstrip(")").partition("(")
    module, *parts = "mssedu", *name.split(".")[1:]
    value = importlib.import_module(module)
    for part in parts:
        try:
            value = getattr(value, part)
        except AttributeError:
            value = importlib.import_module(f"{value.__name__}.{part}")
    return not argument or argument in inspect.signature(value).parameters


def test_a_name_that_is_gone_is_found_out():
    assert found("mssedu.spectral.stft(n_fft)")
    assert not found("mssedu.spectral.stft(fft_size)")
    with pytest.raises(ModuleNotFoundError):
        found("mssedu.spectral.sfft")


def bold_terms(text):
    """Terms that a notebook prints in bold: short, without a stop at the end."""
    cells = jupytext.read(text, fmt="py:percent").cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    prose = re.sub(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$", "", prose, flags=re.S)
    for bold in re.findall(r"\*\*(?=\S)(.+?)(?<=\S)\*\*", prose, flags=re.S):
        term = " ".join(bold.split())
        if len(term.split()) <= SENTENCE and not re.search(r"[.?!:]$", term):
            yield term


def known(term):
    """Whether the glossary has a term, in any case, as a plural, or in brackets."""
    names = {name.lower() for name in ENGLISH}
    for name in ENGLISH:
        short = re.search(r"\((\w+)\)", name)
        names |= {short[1].lower(), name.split(" (")[0].lower()} if short else set()
    names |= {name.split("'s")[0] for name in names}  # Kendall's tau
    names = {re.sub(r"[ -]", "", name) for name in names}  # LayerScale, layer scale
    word = re.sub(r"[ -]", "", term.lower().removesuffix("'s"))
    return bool({word, word.removesuffix("s")} & names)


@pytest.mark.parametrize("text", texts(), ids=lambda text: text.stem)
def test_every_bold_term_has_a_row(text):
    missing = {term for term in bold_terms(text) if not known(term)}
    assert not {term for term in missing if term.lower() not in STRESSED}


# ---- the Chinese README and the page for teachers -----------------------------------

ROOT = FILE.parents[1]
NUMBERS = [text.name[:2] for text in texts()]


def test_what_the_chinese_readme_names_exists():
    text = (ROOT / "README.zh.md").read_text("utf-8")
    links = re.findall(r"\]\(([\w./-]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
    commands = {*re.findall(r"(?<!import )mssedu ([a-z]+)", text)}
    assert commands <= {*COMMANDS}
    chapters = re.findall(r"^\| (\d\d) \|", text, re.MULTILINE)
    assert chapters == sorted(chapters)
    assert {*chapters} >= {number for number in NUMBERS if number < "15"}


def test_what_the_page_for_teachers_names_exists():
    text = (ROOT / "docs" / "teaching.md").read_text("utf-8")
    links = re.findall(r"\]\(([\w./-]+)\)", text)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
    assert {*re.findall(r"`?mssedu course ([a-z]+)", text)} == {*SUBCOMMANDS}
    named = {id.partition(".")[0] for id in re.findall(r"`(\w+)\.[*\w]+`", text)}
    assert named >= {topic for topic, number in EXERCISES.items() if number < "15"}
