"""The licenses that texts and CSV files beside recordings name."""

import pytest

from mssedu.data.building.licenses import (
    license_in,
    licenses_of,
    no_derivatives,
    warn_of_licenses,
)
from mssedu.errors import MssEduWarning

LEGAL_CODE = """Creative Commons Attribution-NonCommercial-NoDerivatives 4.0
International Public License. The text of the Creative Commons public licenses is
dedicated to the public domain under the CC0 Public Domain Dedication."""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CC BY 4.0", "CC BY 4.0"),
        ("cc-by-nc-nd-4.0", "CC BY-NC-ND 4.0"),
        ("License: CC BY NC SA v3.0", "CC BY-NC-SA 3.0"),
        ("[CC BY-ND](https://creativecommons.org/licenses/by-nd/4.0/)", "CC BY-ND 4.0"),
        (LEGAL_CODE, "CC BY-NC-ND 4.0"),
        ("Creative Commons Attribution 3.0", "CC BY 3.0"),
        ("Code: MIT License. Sounds: CC BY 4.0", "CC BY 4.0"),
        ("CC BY 4.0 for pipa, CC BY-ND 4.0 for dizi", "CC BY 4.0, CC BY-ND 4.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0"),
        ("CC0 1.0 Universal, public domain", "CC0"),
        ("This is in the public domain.", "public domain"),
        ("© 2020 Somebody. All rights reserved.", "all rights reserved"),
        ("The MIT License (MIT)", "MIT"),
        ("Recordings of a dizi, made in 2020.", None),
        ("ABYSS CC BYTES", None),
        ("", None),
    ],
)
def test_license_in_a_text(text, name):
    assert license_in(text) == name


@pytest.mark.parametrize(
    ("name", "forbids"),
    [
        ("CC BY-NC-ND 4.0", True),
        ("CC BY-ND 4.0, CC BY 4.0", True),
        ("Attribution, no derivatives", True),
        ("NoDerivs", True),
        ("all rights reserved", True),
        ("署名-禁止演绎", True),
        ("CC BY-NC-SA 4.0", False),
        ("and", False),
        ("CC0", False),
    ],
)
def test_which_licenses_allow_no_derivatives(name, forbids):
    assert no_derivatives(name) == forbids


def recordings(root, *names):
    return {name: (root / name, name.split("/")[0]) for name in names}


def test_the_nearest_text_counts(tmp_path):
    names = ("dizi/a.wav", "pipa/b.wav", "pipa/old/c.wav", "other/d.wav")
    (tmp_path / "pipa" / "old").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "README.md").write_text("Sounds: CC BY 4.0")
    (tmp_path / "LICENSE").write_text("CC0")
    (tmp_path / "pipa" / "readme.txt").write_text("CC BY-ND 4.0")
    (tmp_path / "other" / "readme.txt").write_text("Nothing about it.")
    (tmp_path / "other" / "license.wav").write_bytes(b"CC BY 2.0")
    assert licenses_of(tmp_path, recordings(tmp_path, *names), {}) == {
        "dizi/a.wav": "CC0",
        "pipa/b.wav": "CC BY-ND 4.0",
        "pipa/old/c.wav": "CC BY-ND 4.0",
        "other/d.wav": "CC0",
    }


def test_a_text_above_the_folder_does_not_count(tmp_path):
    (tmp_path / "LICENSE").write_text("CC0")
    (tmp_path / "in").mkdir()
    found = licenses_of(tmp_path / "in", recordings(tmp_path / "in", "dizi/a.wav"), {})
    assert found == {"dizi/a.wav": None}


def test_a_csv_file_counts_more_than_a_text_and_the_user_most(tmp_path):
    (tmp_path / "LICENSE").write_text("CC0")
    (tmp_path / "licenses.csv").write_text("stem,license\ndizi,CC BY 4.0\npipa,\n")
    (tmp_path / "more.csv").write_text("path,license\ndizi/b.wav,CC BY-SA 4.0\n")
    names = ("dizi/a.wav", "dizi/b.wav", "pipa/a.wav", "erhu/a.wav")
    found = licenses_of(tmp_path, recordings(tmp_path, *names), {"erhu": "own"})
    assert found == {
        "dizi/a.wav": "CC BY 4.0",
        "dizi/b.wav": "CC BY-SA 4.0",
        "pipa/a.wav": "CC0",
        "erhu/a.wav": "own",
    }


def test_warnings_name_licenses_and_counts():
    rows = [{"stem": "dizi", "license": "CC BY-ND 4.0"}] * 3
    with pytest.warns(MssEduWarning, match=r"no derivatives: dizi 3 \(CC BY-ND 4\.0\)"):
        warn_of_licenses([*rows, {"stem": "pipa", "license": "CC0"}])
    with pytest.warns(MssEduWarning, match=r"unknown licenses: pipa 1\. Name them"):
        warn_of_licenses([{"stem": "pipa", "license": None}])
    warn_of_licenses([{"stem": "pipa", "license": "CC0"}])
