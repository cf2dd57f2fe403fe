"""Whole data sets: resumable, honest about changes, the same in other processes."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from mssedu.audio.tensors import save_audio
from mssedu.data.loading import load_dataset
from mssedu.data.track import Track
from mssedu.errors import DatasetError, InputError
from mssedu.evaluation.estimates import FileEstimates
from mssedu.evaluation.result import load_evaluation
from mssedu.evaluation.run import CUSTOMARY, evaluate
from mssedu.separation.config import SeparateConfig

STEMS = ("voice", "rest")
RATE = 8000
QUICK = {"metrics": ("usdr",), "rows": ("silence", "model")}


@dataclass(frozen=True)
class Config:
    stems: tuple = STEMS
    sample_rate: int = RATE
    channels: int = 2
    segment: float = 1.0
    segment_limit: float | None = None


class Shares(nn.Module):
    """Gives each stem a share of the mixture, and counts how often it is asked."""

    def __init__(self, *shares, **changes):
        super().__init__()
        self.shares = nn.Parameter(torch.tensor(shares)[:, None, None])
        self.config = Config(**changes)
        self.n_calls = 0

    def forward(self, mixture):
        self.n_calls += 1
        return self.shares * mixture[:, None]


def song(name, *sources):
    return Track.from_audio(name, dict(zip(STEMS, sources, strict=True)), RATE)


@pytest.fixture
def tracks():
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(2, 12000, generator=generator) / 10 for _ in range(3)]
    silent = song("no voice", torch.zeros(2, 12000), noise[2])
    return [song("both", noise[0], noise[1]), silent]


def test_rows_stems_and_both_definitions(tracks):
    found = evaluate(Shares(0.5, 0.5), tracks)
    assert (found.rows, found.stems) == (CUSTOMARY, STEMS)
    assert found.metrics == ("usdr", "csdr")
    assert list(found.tracks) == ["both", "no voice"]
    assert found.tracks["both"].scores["usdr"]["model"]["voice"] == pytest.approx(
        3.01, abs=0.2
    )
    assert found.n_silent("voice") == 1
    assert found.mean("usdr", "model", "voice") == pytest.approx(3.01, abs=0.2)
    assert found.level_at_silence("model", "voice") == pytest.approx(-26.0, abs=0.2)
    assert found.about["estimates"]["model"] == "Shares"
    assert len(found.about["estimates"]["weights_sha256"]) == 64
    assert "median of the frames" in found.definitions["metrics"]["csdr"]["definition"]


def test_a_track_that_is_done_is_not_done_again(tracks, tmp_path, lines):
    model = Shares(0.5, 0.5)
    first = evaluate(model, tracks[:1], folder=tmp_path, log=lines.append, **QUICK)
    n_calls = model.n_calls
    both = evaluate(model, tracks, folder=tmp_path, log=lines.append, **QUICK)
    assert model.n_calls == 2 * n_calls  # the second song only
    assert both.tracks["both"] == first.tracks["both"]
    assert lines == []
    again = evaluate(model, tracks, folder=tmp_path, log=lines.append, **QUICK)
    assert (again, model.n_calls) == (both, 2 * n_calls)


def test_an_interrupted_run_goes_on(tracks, tmp_path):
    model = Shares(0.5, 0.5)

    def interrupt(done, total, note):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(model, tracks, folder=tmp_path, progress=interrupt, **QUICK)
    assert [path.stem for path in (tmp_path / "tracks").iterdir()] == ["both"]
    model.n_calls = 0
    resumed = evaluate(model, tracks, folder=tmp_path, **QUICK)
    assert resumed == evaluate(model, tracks, **QUICK)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("weights", "estimates.weights_sha256"),
        ("settings", "estimates.settings.overlap: 0.25, now 0.5"),
        ("metrics", "definitions.metrics.snr: new"),
        ("rows", "definitions.rows.mixture: new"),
        ("align", "definitions.align: False, now True"),
        ("museval", "museval: False, now True"),
        ("audio", "audio_sha256"),
    ],
)
def test_what_has_changed_is_computed_again_and_said(
    what, reason, tracks, tmp_path, lines
):
    model, tracks = Shares(0.5, 0.5), tracks[:1]
    evaluate(model, tracks, folder=tmp_path, **QUICK)
    changes = {
        "settings": {"separation": SeparateConfig(overlap=0.5)},
        "metrics": {"metrics": ("usdr", "snr")},
        "rows": {"rows": ("silence", "model", "mixture")},
        "align": {"align": True},
        "museval": {"museval": True},
    }.get(what, {})
    if what == "weights":
        nn.init.constant_(model.shares, 0.4)
    if what == "audio":
        tracks = [song("both", tracks[0].stem("voice") * 0.9, tracks[0].stem("rest"))]
    options = {**QUICK, **changes, "folder": tmp_path, "log": lines.append}
    changed = evaluate(model, tracks, **options)
    assert lines[0].startswith(f"both: computed again: {reason}")
    del options["folder"]
    assert changed == evaluate(model, tracks, **options)


def test_the_order_of_rows_and_metrics_changes_nothing(tracks, tmp_path, lines):
    options = {"folder": tmp_path, "log": lines.append}
    evaluate(None, tracks, metrics=("usdr", "snr"), rows=("irm", "ibm"), **options)
    evaluate(None, tracks, metrics=("snr", "usdr"), rows=("ibm", "irm"), **options)
    assert lines == []


def test_other_processes_give_the_same(tracks, tmp_path):
    model, options = Shares(0.5, 0.3), {"rows": (*CUSTOMARY, "mwf"), "folder": None}
    alone = evaluate(model, tracks, **options)
    options["folder"] = tmp_path
    assert evaluate(model, tracks, workers=2, **options) == alone
    assert len(list((tmp_path / "tracks").iterdir())) == 2


def test_an_error_in_another_process_arrives(tracks):
    bad = tracks[0].stem("voice")
    bad[0, 800] = torch.nan
    with pytest.raises(InputError, match=r"bad, voice .*\(0\.100 s\)"):
        evaluate(
            None,
            [song("bad", bad, tracks[0].stem("rest"))],
            metrics=("usdr",),
            rows=("mixture",),
            workers=1,
        )


# ---- other sources of estimates -----------------------------------------------------


@pytest.fixture
def on_disk(tracks, tmp_path):
    """A data set, and estimates half as loud as the truth."""
    for track in tracks:
        for stem in STEMS:
            for place, gain in (("songs", 1.0), ("theirs", 0.5)):
                path = tmp_path / place / track.name / f"{stem}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                save_audio(path, gain * track.stem(stem), RATE, subtype="float32")
    return tmp_path


def test_files_of_any_program(on_disk, lines):
    files = FileEstimates(on_disk / "theirs", STEMS)
    songs = load_dataset(on_disk / "songs")
    options = {"estimates": files, "folder": on_disk / "run", "log": lines.append}
    found = evaluate(None, songs, **options, **QUICK)
    assert found.mean("usdr", "model", "rest") == pytest.approx(6.02, abs=0.01)
    path = on_disk / "theirs" / "both" / "rest.wav"
    save_audio(path, songs[0].stem("rest"), RATE, subtype="float32")
    evaluate(None, songs, **options, **QUICK)
    assert len(lines) == 1
    assert "both: computed again: estimates.rest" in lines[0]


def test_late_files_are_refused_or_aligned(on_disk, lines):
    songs = load_dataset(on_disk / "songs")[:1]
    for stem in STEMS:
        late = torch.nn.functional.pad(songs[0].stem(stem), (50, 0))
        path = on_disk / "theirs" / "both" / f"{stem}.wav"
        save_audio(path, late, RATE, subtype="float32")
    files = FileEstimates(on_disk / "theirs", STEMS)
    with pytest.raises(InputError, match=r"12050 samples.* 12000 samples"):
        evaluate(None, songs, estimates=files, **QUICK)
    found = evaluate(
        None, songs, estimates=files, align=True, log=lines.append, **QUICK
    )
    assert found.mean("usdr", "model", "voice") == 100.0
    assert found.tracks["both"].lag == 50
    assert lines == ["both: estimates 50 samples late, aligned"]


def test_a_function_is_asked_every_time(tracks, tmp_path, lines):
    truth = {track.name: track.sources() for track in tracks}
    options = {"folder": tmp_path, "log": lines.append}
    for _ in range(2):
        found = evaluate(
            Shares(0.0, 0.0), tracks, estimates=lambda t: truth[t.name], **options
        )
    assert found.mean("usdr", "model", "rest") == 100.0
    assert len(lines) == 2
    assert "come from a function" in lines[0]


def test_oracles_need_no_model(tracks):
    found = evaluate(None, tracks, rows=("irm", "mwf"), metrics=("usdr",))
    assert found.about["estimates"] is None
    assert found.mean("usdr", "mwf", "rest") > 3


def test_settings_that_json_lacks(tracks, tmp_path):
    separation = SeparateConfig(segment=float("inf"), stems=("rest",))
    options = {"separation": separation, "folder": tmp_path}
    found = evaluate(Shares(0.5, 0.5), tracks, **options, **QUICK)
    assert found.stems == ("rest",)
    assert found.about["estimates"]["settings"]["segment"] == "inf"
    assert load_evaluation(found.save(tmp_path)) == found


def test_two_stems(tracks):
    separation = SeparateConfig(two_stems="voice")
    found = evaluate(Shares(0.5, 0.5), tracks[:1], separation=separation, **QUICK)
    assert found.stems == ("voice", "no_voice")
    assert found.mean("usdr", "model", "no_voice") == pytest.approx(3.01, abs=0.2)


# ---- files, progress, errors --------------------------------------------------------


def test_museval_files_and_summary(tracks, tmp_path):
    found = evaluate(Shares(0.5, 0.5), tracks, folder=tmp_path, museval=True, **QUICK)
    path = tmp_path / "museval" / "test" / "no voice.json"
    targets = json.loads(path.read_text("utf-8"))["targets"]
    assert [target["name"] for target in targets] == list(STEMS)
    found.save(tmp_path)
    assert load_evaluation(tmp_path) == found


def test_progress(tracks):
    calls = []
    evaluate(
        Shares(0.5, 0.5), tracks, progress=lambda *call: calls.append(call), **QUICK
    )
    assert calls == [(0, 2, "both"), (1, 2, "no voice"), (2, 2, "")]


def test_errors(tracks):
    model = Shares(0.5, 0.5)
    with pytest.raises(DatasetError, match="no tracks"):
        evaluate(model, [])
    with pytest.raises(DatasetError, match="the name both"):
        evaluate(model, [tracks[0], tracks[0]])
    with pytest.raises(InputError, match="Did you mean 'usdr'"):
        evaluate(model, tracks, metrics=["sdr"])
    with pytest.raises(InputError, match="unknown row"):
        evaluate(model, tracks, rows=["oracle"])
    with pytest.raises(InputError, match="rows are empty"):
        evaluate(model, tracks, rows=[])
    with pytest.raises(InputError, match="metrics are empty"):
        evaluate(model, tracks, metrics=[])
    with pytest.raises(InputError, match="workers"):
        evaluate(model, tracks, workers=-1)
    with pytest.raises(InputError, match="needs a model or estimates"):
        evaluate(None, tracks)
    with pytest.raises(InputError, match="Did you mean 'voice'"):
        evaluate(Shares(0.5, 0.5, stems=("voise", "rest")), tracks)
    with pytest.raises(InputError, match="unknown device"):
        evaluate(model, tracks, device="gpu")


def test_all_tracks_are_checked_before_the_first_is_computed(tracks):
    model, rest = Shares(0.5, 0.5), tracks[1].stem("rest")
    other = Track.from_audio("no voice", {"rest": rest}, RATE)
    with pytest.raises(InputError, match="no voice"):
        evaluate(model, [tracks[0], other])
    assert model.n_calls == 0


def test_a_segment_longer_than_trained_is_announced_once(tracks):
    model = Shares(0.5, 0.5, segment_limit=1.0)
    with pytest.warns(UserWarning, match=r"3\.0 s.* at most 1\.0 s") as caught:
        shortened = evaluate(model, tracks, separation=SeparateConfig(segment=3.0))
    assert len(caught) == 1
    assert shortened.tracks == evaluate(model, tracks).tracks
    strict = SeparateConfig(segment=3.0, strict_segment=True)
    with pytest.raises(InputError, match=r"at most 1\.0 s"):
        evaluate(model, tracks, separation=strict)


@pytest.mark.slow
@pytest.mark.skipif("MSSEDU_MUSDB" not in os.environ, reason="MSSEDU_MUSDB: no MUSDB18")
def test_musdb_oracles_are_in_their_order():
    songs = load_dataset(Path(os.environ["MSSEDU_MUSDB"]), "test")[:3]
    rows = ("mixture", "irm", "mwf")
    found = evaluate(None, songs, metrics=("usdr",), rows=rows)
    for stem in found.stems:
        scores = [found.mean("usdr", row, stem) for row in rows]
        assert scores == sorted(scores)
