"""The table of public checkpoints agrees with the packages that publish them."""

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from mssedu.models import MODELS
from mssedu.models.registry import create_model
from mssedu.weights.loading import list_pretrained
from mssedu.weights.published import PUBLISHED
from tests.parity.peers import import_reference, load_peer

ELSEWHERE = {name: entry for name, entry in PUBLISHED.items() if not entry.shipped}
FILES = {file.address: file for entry in ELSEWHERE.values() for file in entry.files}
BY_HAND = {f.address for e in ELSEWHERE.values() if e.page for f in e.files}
ROFORMER = {"head_width": 64, "dropout": 0.0}
MEL = {**ROFORMER, "mask_layers": 2}
# What the tensors of a file say about its model: preset and changes, and bytes of a
# number
SIZES = {
    "scnet": ("paper", {}, 4),
    "scnet_large": ("large", {}, 4),
    "scnet_large_msst": ("large", {}, 4),
    "scnet_xl": ("xl", {}, 4),
    "scnet_xl_ihf": ("xl_ihf", {}, 4),
    "bs_roformer_musdb": ("public", {"n_layers": 8, "mask_scale": 2}, 4),
    "bs_roformer_viperx_317": ("public", {"width": 512, "n_layers": 12}, 4),
    "bs_roformer_viperx_368": ("public", {"width": 512, "n_layers": 12}, 4),
    "bs_roformer_viperx_937": ("public", {"n_layers": 12}, 4),
    "bs_roformer_unwa_resurrection": ("public", {"width": 256, "n_layers": 12}, 4),
    "bs_roformer_unwa_resurrection_inst": ("public", {"width": 256, "n_layers": 12}, 4),
    "bs_roformer_unwa_large": ("public", {"width": 512, "n_layers": 16}, 4),
    "mel_band_roformer_kj": ("paper", MEL, 4),
    "mel_band_roformer_unwa_kim_ft": ("paper", MEL, 4),
    "mel_band_roformer_becruily_vocals": ("paper", MEL, 4),
    "mel_band_roformer_becruily_inst": ("paper", MEL, 4),
    "mel_band_roformer_becruily_deux": (
        "paper",
        {**MEL, "width": 256, "n_layers": 12},
        2,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_entry_is_whole(name):
    entry = PUBLISHED[name]
    assert entry.model in MODELS
    assert len({*entry.stems}) == len(entry.stems) >= 1
    assert entry.license
    assert entry.trained_on
    assert entry.score is None or re.match(
        r"[cu]sdr \d+\.\d\d(, \w+,)? on .*(MUSDB18|Multisong).*\(.+\)$", entry.score
    )
    assert entry.trained_on_test == ("test set" in entry.trained_on)
    assert not entry.page or entry.page.startswith("https://")
    assert entry.segment_limit == (7.8 if entry.model == "htdemucs" else None)
    rows = entry.weights or []
    assert all(len(row) == len(entry.stems) for row in rows)
    assert len(rows) in (0, len(entry.files))


def test_a_hash_is_hexadecimal_and_a_name_its_own():
    for address, file in FILES.items():
        assert address.startswith("https://") != (address in BY_HAND)
        assert all(mirror.startswith("https://") for mirror in file.mirrors)
        assert re.fullmatch("([0-9a-f]{8}|[0-9a-f]{64})", file.sha256 or "0" * 8)
        # Where the name ends in a hash, it is the one that is checked.
        digits = re.search(r"[-_]([0-9a-f]{8})\.\w+$", file.name)
        assert not digits or file.sha256.startswith(digits[1])
    names = [file.name for file in FILES.values()]
    assert len({*names}) == len(names)


def test_weights_that_saw_the_test_set_are_flagged():
    flagged = {name for name, entry in PUBLISHED.items() if entry.trained_on_test}
    assert flagged >= {"mdx_extra", "mdx_extra_q", "hdemucs_high_musdb_plus"}
    assert not flagged & {"umx", "umxhq", "scnet_xl_ihf", "bs_roformer_musdb"}


@pytest.mark.parametrize("name", SIZES)
def test_the_size_of_a_file_is_that_of_our_model(name):
    """Beside the numbers, a file holds their names and little else."""
    preset, changes, n_bytes = SIZES[name]
    entry = PUBLISHED[name]
    with torch.device("meta"):
        model = create_model(
            entry.model, preset, entry.stems, **{**changes, **entry.config}
        )
    n_numbers = sum(parameter.numel() for parameter in model.parameters())
    (file,) = entry.files
    assert 1.0 < file.size / (n_bytes * n_numbers) < 1.004


def test_every_checkpoint_of_a_newer_model_has_its_size_checked():
    newer = {"scnet", "bs_roformer", "mel_band_roformer", "mdx_net"}
    found = ELSEWHERE.keys() & list_pretrained()
    loadable = {name for name in found if ELSEWHERE[name].model in newer}
    assert loadable == {*SIZES, "mel_band_roformer_viperx_3005"}  # of unknown size


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
