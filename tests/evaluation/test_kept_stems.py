"""Estimates kept while they are scored: as they came, of one source, never in part."""

import json

import pytest
import torch

from mssedu.audio.tensors import load_audio, save_audio
from mssedu.data.layouts import load_dataset
from mssedu.errors import InputError
from mssedu.evaluation.estimates import FileEstimates, FunctionEstimates
from mssedu.evaluation.kept_stems import KeptStems
from mssedu.evaluation.run import evaluate
from mssedu.models.registry import create_model

QUICK = {"metrics": ("usdr",), "rows": ("model",)}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("open_unmix", "tiny", n_layers=1, wiener_iterations=0)


@pytest.fixture
def tracks(tmp_path):
    for song in ("One", "Two"):
        for stem in ("vocals", "drums", "bass", "other"):
            path = tmp_path / "songs" / "test" / song / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw = torch.Generator().manual_seed(len(stem))
            save_audio(path, 0.1 * torch.randn(2, 30000, generator=draw), 44100)
    return load_dataset(tmp_path / "songs")


def test_the_files_score_what_the_model_scored(model, tracks, tmp_path):
    folder = tmp_path / "stems"
    first = evaluate(model, tracks, stems_folder=folder, **QUICK)
    files = FileEstimates(folder, first.stems)
    again = evaluate(None, tracks, estimates=files, **QUICK)
    for name, track in first.tracks.items():
        assert again.tracks[name].scores == track.scores
    sound, rate = load_audio(folder / "One" / "bass.wav")
    assert (sound.shape, rate) == ((2, 30000), 44100)


def test_stored_scores_without_stems_are_made_again(model, tracks, tmp_path):
    seen = []
    shown = {"progress": lambda done, n, name: seen.append(name), **QUICK}
    scores, stems = tmp_path / "scores", tmp_path / "stems"
    evaluate(model, tracks, folder=scores, **shown)
    evaluate(model, tracks, folder=scores, stems_folder=stems, **shown)
    assert (stems / "Two" / "vocals.wav").is_file()
    (stems / "Two" / "vocals.wav").unlink()
    before = (stems / "One" / "vocals.wav").stat().st_mtime_ns
    evaluate(model, tracks, folder=scores, stems_folder=stems, **shown)
    assert (stems / "Two" / "vocals.wav").is_file()
    assert (stems / "One" / "vocals.wav").stat().st_mtime_ns == before


def test_stems_of_two_models_are_never_mixed(model, tracks, tmp_path):
    evaluate(model, tracks[:1], stems_folder=tmp_path / "stems", **QUICK)
    evaluate(model, tracks, stems_folder=tmp_path / "stems", **QUICK)
    with pytest.raises(InputError, match="Choose another folder for these stems"):
        evaluate(model, tracks, stems_folder=tmp_path / "stems", overlap=0.5, **QUICK)


def test_a_function_has_stems_too(tracks, tmp_path):
    source = FunctionEstimates(lambda track: track.sources(), tracks[0].stems)
    kept = KeptStems(tmp_path / "stems", source)
    assert not kept.holds(tracks[0])
    kept.write(tracks[0], source(tracks[0]))
    assert kept.holds(tracks[0])
    assert not kept.holds(tracks[1])
    assert json.loads((tmp_path / "stems" / "estimates.json").read_text())


@pytest.mark.parametrize("estimates", ["none", "files"])
def test_what_has_nothing_to_keep_is_told(estimates, tracks, tmp_path):
    stems = tmp_path / "stems"
    source = FileEstimates(tmp_path, ("a",)) if estimates == "files" else None
    with pytest.raises(InputError, match="whose stems can be kept, got"):
        KeptStems(stems, source)
    assert not stems.exists()


def test_a_folder_with_other_files_is_left_alone(model, tracks, tmp_path):
    """A data set has files of the same names: they would be gone."""
    true = tmp_path / "songs" / "test"
    before = (true / "One" / "vocals.wav").read_bytes()
    with pytest.raises(InputError, match=r"an empty folder.*holds One"):
        evaluate(model, tracks, stems_folder=true, **QUICK)
    assert (true / "One" / "vocals.wav").read_bytes() == before
    assert sorted(path.name for path in true.iterdir()) == ["One", "Two"]
