"""docs/references.bib has every numbered source of the chapters, and every model."""

import re
import tomllib
from pathlib import Path

import yaml

import mssedu as ms

ROOT = Path(__file__).resolve().parents[1]
BIB = (ROOT / "docs/references.bib").read_text("utf-8")
# A DOI may hold brackets only within a link's text, so the text is read, not the link.
NUMBER = re.compile(r"\[(?:doi:|arXiv:)([^\]\s]+)\]")


def test_no_numbered_source_of_a_chapter_is_missing():
    known = set(re.findall(r"(?:doi|eprint) = \{([^}]+)\}", BIB))
    cited = {
        number: path.name
        for path in sorted((ROOT / "notebooks/py").glob("*.py"))
        for number in NUMBER.findall(path.read_text("utf-8").replace("\n# ", " "))
    }
    assert len(cited) > 40
    assert {n: where for n, where in cited.items() if n not in known} == {}


def test_each_entry_is_whole_and_has_a_key_of_its_own():
    keys = re.findall(r"^@\w+\{([^,]+),$", BIB, re.MULTILINE)
    assert len(keys) == len(set(keys))
    assert BIB.count("{") == BIB.count("}")
    for entry in re.split(r"^@", BIB, flags=re.MULTILINE)[1:]:
        assert re.search(r"^  author = ", entry, re.MULTILINE), entry[:40]
        assert re.search(r"^  title = ", entry, re.MULTILINE), entry[:40]
        assert re.search(r"^  year = \{\d{4}\}", entry, re.MULTILINE), entry[:40]


def test_each_model_has_an_entry_under_its_name():
    keys = set(re.findall(r"^@\w+\{([^,]+),$", BIB, re.MULTILINE))
    # The variants htdemucs_* are not published in a paper.
    models = {n for n in ms.list_models() if not n.startswith("htdemucs_")}
    assert models - keys == set()


def test_the_citation_file_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == "MIT"
    assert citation["cff-version"] == "1.2.0"
