"""The files of an evaluation: scores that are reused, stems, and files for museval."""

import json
import math
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mssedu.audio.tensors import load_audio, save_audio
from mssedu.data.loading import load_dataset
from mssedu.data.track import Track
from mssedu.errors import InputError
from mssedu.evaluation.estimates import FileEstimates, FunctionEstimates
from mssedu.evaluation.run import evaluate
from mssedu.evaluation.store import ScoreStore, StemStore, write_museval
from mssedu.evaluation.track import TrackScores, museval_frames
from mssedu.metrics.table import Sounds
from mssedu.models.registry import create_model
from mssedu.separation.config import SeparateConfig

KEY = {"audio_sha256": "1", "definitions": {"usdr": {"version": 1}}, "rows": ("model",)}


def made(name="a song", **changes):
    scores = {"usdr": {"model": {"voice": 1.0, "rest": None}}}
    fields = {"split": None, "seconds": 1.5, "audio_sha256": "1", "scores": scores}
    return TrackScores(name, **fields, at_silence={}, capped=[], **changes)


@pytest.fixture
def store(tmp_path, lines):
    return ScoreStore(tmp_path / "run", lines.append)


def test_what_was_kept_is_read_back(store, lines):
    assert store.read("a song", KEY) is None
    store.write(made(), KEY)
    assert store.read("a song", KEY) == made()
    assert lines == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"audio_sha256": "2"}, "audio_sha256: 1, now 2"),
        (
            {"definitions": {"usdr": {"version": 2}}},
            "definitions.usdr.version: 1, now 2",
        ),
        ({"rows": ("model", "irm")}, "rows: ['model'], now ['model', 'irm']"),
        ({"weights": "x"}, "weights: new"),
    ],
)
def test_another_key_is_computed_again_and_says_why(store, lines, change, reason):
    store.write(made(), KEY)
    assert store.read("a song", KEY | change) is None
    assert lines == [f"a song: computed again: {reason}"]


def test_estimates_of_a_function_are_never_trusted(store, lines):
    store.write(made(), None)
    assert store.read("a song", None) is None
    assert "come from a function" in lines[0]


@pytest.mark.parametrize("content", ["", "{}", '{"format": 1, "key": {}}', "[1]"])
def test_damaged_files_are_computed_again(store, lines, content):
    store.write(made(), {})
    store.path("a song").write_text(content)
    assert store.read("a song", {}) is None
    assert "a song: computed again: the file is damaged" in lines[0]


def test_a_newer_format_is_computed_again(store, lines):
    store.write(made(), KEY)
    document = json.loads(store.path("a song").read_text("utf-8"))
    store.path("a song").write_text(json.dumps(document | {"format": 99}))
    assert store.read("a song", KEY) is None
    assert "format: 99, now 1" in lines[0]


@pytest.mark.parametrize("name", ["雨天 #1", "AC/DC: live?", "..", " a. "])
def test_any_name_becomes_a_file(store, name):
    store.write(made(name), KEY)
    assert store.read(name, KEY).name == name
    assert store.path(name).parent == store.folder / "tracks"


def test_files_for_museval(store):
    document = {"targets": [], "museval_version": "0.4.1", "silence": "as museval"}
    store.write(made(museval=document), KEY)
    assert (store.folder / "museval" / "test" / "a song.json").exists()


def test_without_a_folder_nothing_is_kept(lines):
    store = ScoreStore(None, lines.append)
    store.write(made(), KEY)
    assert store.read("a song", KEY) is None
    assert store.path("a song") is None


@given(st.lists(st.text(min_size=1), min_size=1, max_size=6, unique=True))
def test_different_names_have_different_files(names):
    """Also on file systems that take upper and lower case, or é and e + ´, for one."""
    close = [variant for n in names for variant in (n.upper(), n.lower(), n + ".")]
    names = list(dict.fromkeys([*names, *close]))
    store = ScoreStore(Path("run"), print, names)
    files = [unicodedata.normalize("NFC", store.path(n).name) for n in names]
    assert len({name.casefold() for name in files}) == len(names)


@pytest.mark.parametrize("first", ["a:b", "a?b", "a/b", "a_b"])
def test_forbidden_characters_do_not_make_names_equal(store, first):
    names = ["a:b", "a?b", "a/b", "a_b", "a_b-00c0ffee"]
    others = {store.path(name) for name in names if name != first}
    assert store.path(first) not in others
    assert store.path("a_b").name == "a_b.json"  # as a harmless name always was


@pytest.mark.parametrize("name", ["CON", "nul.txt", "Lpt1", "com¹.a"])
def test_names_that_windows_reserves_are_changed(store, name):
    first = store.path(name).name.split(".")[0]
    assert first.casefold() != name.split(".")[0].casefold()
    assert store.path("Conga").name == "Conga.json"


def test_a_long_name_still_makes_a_file(store):
    store.write(made("長" * 300), KEY)
    assert store.read("長" * 300, KEY).name == "長" * 300
    assert store.path("長" * 300) != store.path("長" * 301)


# ---- stems ---------------------------------------------------------------------------

QUICK_STEMS = {"metrics": ("usdr",), "rows": ("model",)}


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
    first = evaluate(model, tracks, stems_folder=folder, **QUICK_STEMS)
    files = FileEstimates(folder, first.stems)
    again = evaluate(None, tracks, estimates=files, **QUICK_STEMS)
    for name, track in first.tracks.items():
        assert again.tracks[name].scores == track.scores
    sound, rate = load_audio(folder / "One" / "bass.wav")
    assert (sound.shape, rate) == ((2, 30000), 44100)


def test_stored_scores_without_stems_are_made_again(model, tracks, tmp_path):
    seen = []
    shown = {"progress": lambda done, n, name: seen.append(name), **QUICK_STEMS}
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
    evaluate(model, tracks[:1], stems_folder=tmp_path / "stems", **QUICK_STEMS)
    evaluate(model, tracks, stems_folder=tmp_path / "stems", **QUICK_STEMS)
    with pytest.raises(InputError, match="other settings"):
        evaluate(
            model,
            tracks,
            stems_folder=tmp_path / "stems",
            **QUICK_STEMS,
            separation=SeparateConfig(overlap=0.5),
        )


def test_a_function_has_stems_too(tracks, tmp_path):
    source = FunctionEstimates(lambda track: track.sources(), tracks[0].stems)
    kept = StemStore(tmp_path / "stems", source)
    assert not kept.holds(tracks[0])
    kept.write(tracks[0], source(tracks[0]))
    assert kept.holds(tracks[0])
    assert not kept.holds(tracks[1])
    assert json.loads((tmp_path / "stems" / "estimates.json").read_text())


@pytest.mark.parametrize("estimates", ["none", "files"])
def test_what_has_nothing_to_keep_is_told(estimates, tracks, tmp_path):
    stems = tmp_path / "stems"
    source = FileEstimates(tmp_path, ("a",)) if estimates == "files" else None
    with pytest.raises(InputError, match="cannot be kept"):
        StemStore(stems, source)
    assert not stems.exists()


def test_a_folder_with_other_files_is_left_alone(model, tracks, tmp_path):
    """A data set has files of the same names: they would be gone."""
    true = tmp_path / "songs" / "test"
    before = (true / "One" / "vocals.wav").read_bytes()
    with pytest.raises(InputError, match=r"holds One.* empty"):
        evaluate(model, tracks, stems_folder=true, **QUICK_STEMS)
    assert (true / "One" / "vocals.wav").read_bytes() == before
    assert sorted(path.name for path in true.iterdir()) == ["One", "Two"]


def test_stems_of_similar_names_do_not_overwrite_one_another(tracks, tmp_path):
    names = ("a:b", "a/b", "a_b", "A_B")
    audio = {stem: tracks[0].stem(stem) for stem in tracks[0].stems}
    songs = [Track.from_audio(name, audio, 44100) for name in names]
    source = FunctionEstimates(lambda track: track.sources(), tracks[0].stems)
    kept = StemStore(tmp_path / "stems", source, names)
    files = FileEstimates(tmp_path / "stems", source.stems)
    for number, song in enumerate(songs):
        assert not kept.holds(song)
        kept.write(song, (number + 1) / 8 * song.sources())
    for number, song in enumerate(songs):
        expected = (number + 1) / 8 * song.sources()
        torch.testing.assert_close(files(song), expected)
    folders = {path.name.casefold() for path in (tmp_path / "stems").iterdir()}
    assert len(folders) == len(names) + 1  # and estimates.json


# ---- museval -------------------------------------------------------------------------

RATE = 8000
STEMS = ("voice", "rest")
needs_ffmpeg = pytest.mark.skipif(
    not shutil.which("ffmpeg"), reason="museval's import wants ffmpeg on the PATH"
)


def make_sounds(*, silent_second=False, silent=False):
    generator = torch.Generator().manual_seed(1)
    references = torch.randn(2, 2, 3 * RATE, generator=generator) / 10
    estimates = references + torch.randn(references.shape, generator=generator) / 50
    if silent_second:
        references[0, :, RATE : 2 * RATE] = 0
    if silent:
        references[0] = 0
    return Sounds(references, estimates, references.sum(0), RATE)


def scores_of(document, stem, metric):
    (target,) = (t for t in document["targets"] if t["name"] == stem)
    return [frame["metrics"][metric] for frame in target["frames"]]


@needs_ffmpeg
@pytest.mark.filterwarnings("ignore")
def test_musevals_own_store_reads_the_files(tmp_path):
    import museval

    for name, silent in (("a", False), ("b", True)):
        document = museval_frames(make_sounds(silent_second=silent), STEMS)
        write_museval(tmp_path, name, "test", document)
    store = museval.EvalStore()
    store.add_eval_dir(tmp_path)
    assert len(store.df) == 2 * 2 * 4 * 3  # tracks, stems, metrics, frames
    scores = store.agg_frames_tracks_scores()
    sdr = [
        np.median(
            [
                x
                for x in scores_of(json.loads(path.read_text()), "voice", "SDR")
                if x == x
            ]
        )
        for path in sorted((tmp_path / "test").iterdir())
    ]
    assert scores["voice", "SDR"] == pytest.approx(np.median(sdr), abs=1e-9)


@needs_ffmpeg
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("silent_second", [False, True])
def test_frames_are_those_that_museval_computes(silent_second, tmp_path):
    import museval

    sounds = make_sounds(silent_second=silent_second)
    document = museval_frames(sounds, STEMS)
    theirs = museval.evaluate(
        sounds.references.transpose(1, 2).double().numpy(),
        sounds.estimates.transpose(1, 2).double().numpy(),
        win=RATE,
        hop=RATE,
    )
    store = museval.TrackStore(track_name="a")
    store.scores = json.loads(
        write_museval(tmp_path, "a", None, document).read_text("utf-8")
    )
    store.validate()  # against museval's schema
    for metric, table in zip(("SDR", "ISR", "SIR", "SAR"), theirs, strict=True):
        for stem, line in zip(STEMS, table, strict=True):
            ours = scores_of(document, stem, metric)
            ours = [math.nan if x is None else x for x in ours]
            assert ours == pytest.approx(line.tolist(), abs=2e-5, nan_ok=True)
    assert any(x is None for x in scores_of(document, "rest", "SDR")) == silent_second


def test_a_stem_that_is_silent_throughout_costs_itself_only():
    document = museval_frames(make_sounds(silent=True), STEMS)
    assert document["silence"] == "a silent stem costs itself"
    assert scores_of(document, "voice", "SDR") == [None] * 3
    assert all(score > 5 for score in scores_of(document, "rest", "SDR"))


def test_files_lie_where_museval_looks(tmp_path):
    document = museval_frames(make_sounds(silent=True), STEMS)
    path = write_museval(tmp_path, "a song", None, document)
    assert path == tmp_path / "test" / "a song.json"
    assert write_museval(tmp_path, "b", "train", document).parent.name == "train"
    frame = json.loads(path.read_text())["targets"][0]["frames"][1]
    assert (frame["time"], frame["duration"]) == (1.0, 1.0)
    assert math.isnan(frame["metrics"]["SDR"])
