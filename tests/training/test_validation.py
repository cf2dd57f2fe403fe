"""Checks before the first step, and scores that are known beforehand."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mssedu.audio.tensors import save_audio
from mssedu.data.loading import load_track
from mssedu.data.track import Track, data_sha256
from mssedu.errors import DatasetError, InputError, SetupError
from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.validation import (
    check_apart,
    do_nothing_scores,
    enough_memory,
    select_songs,
    validate,
    with_stems_of,
)

STEMS, RATE = ("hum", "hiss"), 8000


class Share(nn.Module):
    """Every estimate is the mixture times a number."""

    def __init__(self, share):
        super().__init__()
        self.config = SimpleNamespace(
            stems=STEMS, sample_rate=RATE, channels=2, segment=0.05
        )
        self.share = nn.Parameter(torch.tensor(share))

    def forward(self, mixture):
        return (self.share * mixture).unsqueeze(1).expand(-1, len(STEMS), -1, -1)


def song(seed, hum=1.0, hiss=1.0):
    """Stems of exactly these powers, orthogonal to each other."""
    t = torch.arange(800 + 160 * seed) / RATE
    sources = {
        "hum": hum**0.5 * torch.sin(2 * torch.pi * 100 * t).expand(2, -1),
        "hiss": hiss**0.5 * torch.cos(2 * torch.pi * 100 * t).expand(2, -1),
    }
    return Track.from_audio(f"song {seed}", sources, RATE)


def test_the_mixture_scores_what_arithmetic_says():
    # Its error in one stem is the other stem: 10 log10(power ratio).
    scores = validate(Share(1.0), [song(0), song(1, hum=10.0)], STEMS)
    expected = torch.tensor([[0.0, 0.0], [10.0, -10.0]])
    torch.testing.assert_close(scores, expected, atol=1e-3, rtol=0)


def test_a_model_that_does_nothing_scores_as_doing_nothing():
    tracks = [song(0), song(1, hum=2.0)]
    baselines = do_nothing_scores(tracks, STEMS)
    for name, share in (("mixture", 1.0), ("silence", 0.0)):
        mean = float(validate(Share(share), tracks, STEMS).mean())
        assert mean == pytest.approx(baselines[name], abs=1e-4)
    assert baselines["silence"] == 0.0


def test_stems_follow_the_order_asked_for():
    scores = validate(Share(1.0), [song(0, hum=10.0)], STEMS[::-1])
    torch.testing.assert_close(
        scores[0], torch.tensor([-10.0, 10.0]), atol=1e-3, rtol=0
    )


def test_a_silent_stem_has_no_score_and_leaves_the_mean_alone():
    scores = validate(Share(1.0), [song(0, hiss=0.0)], STEMS)
    assert scores[0, 1].isnan()
    assert do_nothing_scores([song(0, hiss=0.0)], STEMS)["silence"] == 0.0


def test_silence_alone_cannot_be_scored():
    with pytest.raises(DatasetError, match="silent"):
        do_nothing_scores([song(0, hum=0.0, hiss=0.0)], STEMS)


def test_without_songs_there_is_nothing_to_compare():
    assert do_nothing_scores(None, STEMS) == {}


def test_nan_in_a_song_names_the_song():
    audio = {"hum": torch.full((2, 800), math.nan), "hiss": torch.ones(2, 800)}
    with pytest.raises(InputError, match=r"track 'Broken'.*NaN"):
        do_nothing_scores([Track.from_audio("Broken", audio, RATE)], STEMS)


def test_an_estimate_that_is_not_finite_is_an_error():
    with pytest.raises(InputError, match="NaN"):
        validate(Share(math.nan), [song(0)], STEMS)


def test_the_model_is_set_back_to_train_mode():
    model = Share(1.0).train()
    validate(model, [song(0)], STEMS)
    assert model.training


# ---- before the first step -----------------------------------------------------------

CONFIG = TrainConfig(stems=STEMS, batch_size=2, segment=0.3, device="cpu")
MODEL = create_model("spleeter", "tiny", STEMS, sample_rate=RATE)


def noise(name="Noise", stems=STEMS, channels=2, rate=RATE):
    audio = {stem: torch.rand(channels, 800) - 0.5 for stem in stems}
    return Track.from_audio(name, audio, rate)


GOOD, OTHER = [noise()], [noise("Other")]


def test_songs_have_the_stems_of_the_model_and_keep_the_others():
    select_songs(MODEL, GOOD, OTHER)
    model = create_model("spleeter", "tiny", ("band=hum+hiss",), sample_rate=RATE)
    train, valid = select_songs(model, [noise(stems=(*STEMS, "rain"))], None)
    assert train[0].stems == ("band",)
    assert train[0].unselected == ("rain",)
    assert valid is None
    others, valid = select_songs(model, [noise(stems=(*STEMS, "wind"))], OTHER)
    assert valid[0].stems == ("band",)
    assert data_sha256(others) != data_sha256(train)


@pytest.mark.parametrize(
    ("train_tracks", "valid_tracks", "error", "text"),
    [
        ([], GOOD, DatasetError, "train_tracks is empty"),
        (GOOD, [], DatasetError, "valid_tracks is empty.*valid_tracks=None"),
        ([noise(stems=("hum", "rain"))], GOOD, InputError, "'Noise'.* 'hiss'"),
        (
            GOOD,
            [noise(channels=1)],
            DatasetError,
            "Hz and 1 channels, .* 8000 Hz and 2",
        ),
        (
            [noise(rate=44100)],
            None,
            DatasetError,
            "44100 Hz and 2 channels, .* 8000 Hz and 2",
        ),
    ],
)
def test_tracks_that_cannot_work_are_named(train_tracks, valid_tracks, error, text):
    with pytest.raises(error, match=text):
        select_songs(MODEL, train_tracks, valid_tracks)


def recordings(prefix):
    """Noise as recordings of one stem each."""
    return [
        Track.from_audio(
            f"{prefix} {stem}",
            {stem: torch.rand(2, 800) - 0.5},
            RATE,
            absent=[other for other in STEMS if other != stem],
        )
        for stem in STEMS
    ]


def test_recordings_of_single_stems_train_but_do_not_validate():
    train, _ = select_songs(MODEL, recordings("a"), OTHER)
    assert [len(track.absent) for track in train] == 2 * [1]
    with pytest.raises(DatasetError, match=r"validation song is a recording.*--no-val"):
        select_songs(MODEL, recordings("a"), recordings("b"))
    with pytest.raises(DatasetError, match="leave out --no-remix"):
        select_songs(MODEL, recordings("a"), OTHER, remix=False)


def test_a_song_is_separated_for_the_stems_it_has():
    lacking = Track.from_audio("b", {"hum": torch.rand(2, 800)}, RATE, absent=["hiss"])
    calls = []
    model = Share(1.0)
    model.register_forward_hook(lambda *_: calls.append(1))
    scores = validate(model, [lacking.with_stems(["hiss"])], ["hiss"])
    assert scores.isnan().tolist() == [[True]]
    assert not calls
    scores = validate(model, [lacking.with_stems(STEMS)], STEMS)
    assert scores.isnan().tolist() == [[False, True]]
    with pytest.raises(DatasetError, match="silent or absent"):
        do_nothing_scores([lacking.with_stems(["hiss"])], ["hiss"])


def test_the_same_files_with_a_silent_stem_are_other_data():
    sources = {"hum": torch.rand(2, 800)}
    absent = Track.from_audio("b", sources, RATE, absent=["hiss"])
    silent = dataclasses.replace(absent, absent=(), silent=("hiss",))
    assert data_sha256([absent]) != data_sha256([silent])


def test_the_config_takes_the_stems_of_the_model():
    stems = ("band=hum+hiss",)
    model = create_model("spleeter", "tiny", stems, sample_rate=RATE)
    assert with_stems_of(model, TrainConfig()).stems == stems
    assert with_stems_of(model, TrainConfig(stems=stems)).stems == stems
    with pytest.raises(InputError, match=r"stems hum, hiss, .*hum\+hiss"):
        with_stems_of(model, CONFIG)


def test_model_and_config_must_be_of_one_architecture_and_order_of_stems():
    for changes, text in (
        ({"stems": ("hiss", "hum")}, r"stems hiss, hum, .* hum, hiss"),
        ({"model": "open_unmix"}, r"'open_unmix', .*'spleeter'"),
    ):
        with pytest.raises(InputError, match=text):
            with_stems_of(MODEL, dataclasses.replace(CONFIG, **changes))


def test_a_copy_of_a_training_song_is_no_validation():
    train, other = noise("Train"), noise("Other")
    check_apart([train], [other])
    copy = dataclasses.replace(train, name="Renamed")
    with pytest.raises(DatasetError, match=r"Renamed = Train\. .*--no-valid"):
        check_apart([train], [other, copy])


def test_a_link_to_a_file_of_a_training_song_is_no_validation(tmp_path):
    tracks = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        for stem in STEMS:
            save_audio(tmp_path / name / f"{stem}.wav", torch.rand(2, 800) - 0.5, RATE)
    (tmp_path / "c" / "hum.wav").unlink()
    (tmp_path / "c" / "hum.wav").symlink_to(tmp_path / "a" / "hum.wav")
    tracks = [load_track(tmp_path / name) for name in ("a", "b", "c")]
    check_apart(tracks[:1], tracks[1:2])
    with pytest.raises(DatasetError, match=r"1 validation songs .*: c = a\."):
        check_apart(tracks[:1], tracks[1:])
    with pytest.raises(DatasetError, match=r"6 validation songs .* and 1 more"):
        check_apart(tracks[:1], tracks[:1] * 6)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_too_little_memory_names_the_flags(error):
    text = r"memory of cpu .* 2 × 0\.3 s.*--batch-size or --segment"
    with pytest.raises(SetupError, match=text), enough_memory(CONFIG):
        raise error


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), enough_memory(CONFIG):
        raise RuntimeError("shapes differ")
