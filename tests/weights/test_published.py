"""The table of public checkpoints agrees with the packages that publish them."""

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from mssedu.models import MODELS
from mssedu.weights.published import PUBLISHED
from tests.parity.peers import import_reference, load_peer

FILES = {file.address: file for entry in PUBLISHED.values() for file in entry.files}


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_entry_is_whole(name):
    entry = PUBLISHED[name]
    assert entry.model in MODELS
    assert len({*entry.stems}) == len(entry.stems) >= 2
    assert entry.license
    assert entry.trained_on
    assert entry.score is None or re.match(r"[cu]sdr \d\.\d\d\D.*", entry.score)
    assert entry.segment_limit == (7.8 if entry.model == "htdemucs" else None)
    rows = entry.weights or []
    assert all(len(row) == len(entry.stems) for row in rows)
    assert len(rows) in (0, len(entry.files))


def test_a_hash_is_hexadecimal_and_a_name_its_own():
    for address, file in FILES.items():
        assert address.startswith("https://")
        assert re.fullmatch("([0-9a-f]{8}|[0-9a-f]{64})", file.sha256 or "0" * 8)
        # Where the name ends in a hash, it is the one that is checked.
        digits = re.search(r"[-_]([0-9a-f]{8})\.\w+$", file.name)
        assert not digits or file.sha256.startswith(digits[1])
    names = [file.name for file in FILES.values()]
    assert len({*names}) == len(names)


@pytest.mark.parity
def test_demucs_4_lists_the_same_files_and_bags():
    demucs = import_reference("demucs.pretrained")
    yaml = pytest.importorskip("yaml")
    folder = Path(demucs.__file__).parent / "remote"
    files = demucs._parse_remote_files(folder / "files.txt")
    for bag in folder.glob("*.yaml"):
        entry, facts = PUBLISHED[bag.stem], yaml.safe_load(bag.read_text())
        theirs = [files[name] for name in dict.fromkeys(facts["models"])]
        if bag.stem.startswith("repro_mdx_a_"):  # these list each model twice
            assert len(facts["models"]) == 2 * len(theirs)
        assert [file.address for file in entry.files] == [*dict.fromkeys(theirs)] or (
            bag.stem == "repro_mdx_a"
            and {file.address for file in entry.files} == {*theirs}
        )
        if not entry.refused:
            assert [[*row] for row in entry.weights or []] == facts.get("weights", [])
            assert entry.config.get("segment") == facts.get("segment")
    names = {bag.stem for bag in folder.glob("*.yaml")}
    of_hub = {name for name, e in PUBLISHED.items() if "/v" not in e.files[0].address}
    assert names == {n for n in of_hub if "fbaipublic" in PUBLISHED[n].files[0].address}


@pytest.mark.parity
def test_demucs_2_lists_the_same_files():
    diffq = ModuleType("diffq")
    diffq.DiffQuantizer = diffq.UniformQuantizer = None
    (theirs,) = load_peer("demucs", "2.0.3", ["pretrained"], {"diffq": diffq})
    names = {*theirs.PRETRAINED_MODELS} - {"demucs_unittest"}
    assert {PUBLISHED[name].files[0].address for name in names} == {
        theirs.get_url(name) for name in names
    }


@pytest.mark.parity
def test_open_unmix_and_torchaudio_list_the_same_files():
    openunmix = import_reference("openunmix")
    pattern = r'"(\w+)": "(https://zenodo.org/[^"]+)"'
    for name in ("umx", "umxhq", "umxl", "umxse"):
        source = inspect.getsource(getattr(openunmix, f"{name}_spec"))
        theirs, entry = dict(re.findall(pattern, source)), PUBLISHED[name]
        ours = dict(zip(entry.stems, (f.address for f in entry.files), strict=True))
        assert ours == theirs
    pipelines = pytest.importorskip("torchaudio.pipelines")
    for name in ("hdemucs_high_musdb_plus", "hdemucs_high_musdb"):
        (file,) = PUBLISHED[name].files
        assert file.address.endswith(getattr(pipelines, name.upper())._model_path)
