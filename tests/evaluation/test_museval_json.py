"""museval reads our files, and finds in them what it would have computed itself."""

import json
import math
import shutil

import numpy as np
import pytest
import torch

from mssedu.evaluation.museval_json import museval_frames, write_museval
from mssedu.metrics.table import Sounds

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
