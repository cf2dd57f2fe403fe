"""Songs from which stems are absent: each is scored as if it were alone with its own.

An absent stem has no reference. It is not silent: it may sound in the mixture, and then
it is a part of the rest. So its estimate is compared with nothing, and the other stems
have the scores that they have without it.
"""

import json
import warnings
from statistics import fmean

import pytest
import torch

from mssedu.audio.tensors import save_audio
from mssedu.data.loading import load_dataset
from mssedu.data.track import Track
from mssedu.errors import AudioFileError, DatasetError
from mssedu.evaluation.error_analysis import REST, analyze_errors
from mssedu.evaluation.estimates import FileEstimates, FunctionEstimates
from mssedu.evaluation.run import evaluate
from mssedu.metrics.table import METRICS
from mssedu.reports.errors import write_analysis

RATE = 8000
STEMS = ("dizi", "pipa", "yangqin")
# The name of each song, and the stems that it has
SONGS = {"all": STEMS, "pair": ("pipa", "yangqin"), "duo": ("dizi", "yangqin")}
GAINS = {"dizi": 0.9, "pipa": 0.5, "yangqin": 0.99}


def song(name, stems, *, hidden=False, seconds=1.5, seed=0):
    """Noise in every stem; `hidden`: absent stems sound in the mixture all the same."""
    generator = torch.Generator().manual_seed(seed + len(stems))
    audio = torch.randn(3, 1, round(seconds * RATE), generator=generator) / 10
    sources = {s: a for s, a in zip(STEMS, audio, strict=True) if s in stems}
    absent = [stem for stem in STEMS if stem not in stems]
    mixture = audio.sum(0) if hidden else None
    track = Track.from_audio(name, sources, RATE, mixture=mixture, absent=absent)
    return track.with_stems(STEMS)


@pytest.fixture
def songs():
    return [song(name, s, hidden=name == "pair") for name, s in SONGS.items()]


def estimated(track):
    """Each stem with some of the mixture and of noise; also of absent stems."""
    generator = torch.Generator().manual_seed(len(track.name))
    noise = torch.randn(3, *track.mixture().shape, generator=generator)
    return track.sources() + 0.1 * track.mixture() + 0.01 * noise


def alone(track):
    """The same song without the absent stems, and the estimates of the others."""
    rows = [STEMS.index(stem) for stem in track.present]
    return track.with_stems(track.present), lambda _: estimated(track)[rows]


# ---- scores -------------------------------------------------------------------------


def test_every_song_has_the_scores_that_it_has_alone(songs):
    metrics = [name for name in METRICS if name != "log_wmse"]  # needs a higher rate
    options = {"metrics": metrics, "rows": ("model", "irm")}
    found = evaluate(None, songs, estimates=estimated, **options)
    assert found.stems == STEMS
    for track in songs:
        one, estimates = alone(track)
        expected = evaluate(None, [one], estimates=estimates, **options)
        ours, theirs = (e.tracks[track.name] for e in (found, expected))
        for metric in metrics:
            for row in options["rows"]:
                scores = ours.scores[metric][row]
                assert {s: scores[s] for s in one.stems} == theirs.scores[metric][row]
                assert all(scores[stem] is None for stem in track.absent)
        assert (ours.at_silence, ours.capped) == (theirs.at_silence, theirs.capped)
        assert tuple(ours.absent) == track.absent
        assert theirs.absent == []


def test_means_are_those_of_the_songs_with_the_stem(songs):
    decibels = {"dizi": 20.0, "pipa": 6.0206, "yangqin": 40.0}

    def scaled(track):
        gains = torch.tensor([GAINS[s] for s in STEMS])[:, None, None]
        if track.name == "duo":
            gains = 1 - (1 - gains) / 10  # 20 dB better
        return gains * track.sources() + (track.sources() == 0)  # loud where absent

    found = evaluate(None, songs, estimates=scaled, metrics=["usdr"], rows=["model"])
    means = [found.mean("usdr", "model", stem) for stem in STEMS]
    expected = [
        fmean([decibels["dizi"], decibels["dizi"] + 20]),
        fmean(2 * [decibels["pipa"]]),
        fmean([*(2 * [decibels["yangqin"]]), decibels["yangqin"] + 20]),
    ]
    assert means == pytest.approx(expected, abs=1e-3)
    assert [found.n_absent(stem) for stem in STEMS] == [1, 1, 0]
    assert [found.n_silent(stem) for stem in STEMS] == [0, 0, 0]
    table = found.table("usdr").set_index("aggregation")
    assert table.loc["mean of tracks", "average"] == pytest.approx(fmean(expected))
    assert table.loc["n (tracks)", [*STEMS]].tolist() == ["2", "2", "3"]


def test_an_absent_stem_that_sounds_is_a_part_of_the_rest():
    """The oracle must share the mixture with it, as with any other source."""
    hidden, heard = song("a", STEMS[:2], hidden=True), song("a", STEMS)
    options = {"metrics": ["usdr", "sir"], "rows": ["irm"]}
    theirs = evaluate(None, [heard.with_stems(STEMS[:2])], **options)
    other = song("b", STEMS)  # so that no stem is absent from all
    ours = evaluate(None, [_with_audio_of(heard, hidden), other], **options)
    for metric in options["metrics"]:
        for row in options["rows"]:
            for stem in STEMS[:2]:
                expected = theirs.tracks["a"].scores[metric][row][stem]
                found = ours.tracks["a"].scores[metric][row][stem]
                assert found == pytest.approx(expected, abs=1e-3)


def _with_audio_of(heard, hidden):
    """`hidden`, whose stems and mixture are those of `heard`."""
    sources = {stem: heard.stem(stem) for stem in hidden.present}
    mixture, absent = heard.mixture(), hidden.absent
    made = Track.from_audio("a", sources, RATE, mixture=mixture, absent=absent)
    return made.with_stems(STEMS)


def test_silent_and_absent_are_two_things(songs):
    quiet = Track.from_audio(
        "quiet",
        {stem: songs[0].stem(stem) * (stem != "pipa") for stem in STEMS},
        RATE,
    )
    options = {"metrics": ["usdr", "nsdr"], "rows": ["model"], "estimates": estimated}
    found = evaluate(None, [*songs, quiet], **options)
    assert (found.n_silent("pipa"), found.n_absent("pipa")) == (1, 1)
    assert list(found.tracks["quiet"].at_silence) == ["pipa"]
    assert list(found.tracks["duo"].at_silence) == []
    # nsdr has a score for silence, but none without a reference
    assert [*found.by_track("nsdr", "model", "pipa")] == ["all", "pair", "quiet"]
    assert [*found.by_track("usdr", "model", "pipa")] == ["all", "pair"]


def test_other_processes_and_late_estimates(songs):
    def late(track):
        return torch.nn.functional.pad(estimated(track), (30, 0))

    options = {"metrics": ["usdr"], "rows": ["model", "irm"]}
    found = evaluate(None, songs, estimates=late, align=True, workers=1, **options)
    assert [scores.lag for scores in found.tracks.values()] == [30, 30, 30]
    expected = evaluate(None, songs, estimates=estimated, **options)
    for name, track in found.tracks.items():
        assert track.scores == expected.tracks[name].scores
        assert track.absent == expected.tracks[name].absent


def test_sums_with_an_absent_stem_are_absent(songs):
    pairs = [track.with_stems(["lutes=pipa+yangqin", "no_lutes"]) for track in songs]
    found = evaluate(None, pairs, metrics=["usdr"], rows=["irm"])
    assert [t.absent for t in found.tracks.values()] == [
        [],
        [],
        ["lutes", "no_lutes"],
    ]
    assert [*found.by_track("usdr", "irm", "no_lutes")] == ["all", "pair"]


def test_a_stem_that_all_songs_lack_is_an_error_before_the_work(songs):
    calls = []
    lacking = [song("a", STEMS[:2]), song("b", STEMS[:1])]
    with pytest.raises(DatasetError, match=r"yangqin: absent from all .* \(--stems\)"):
        evaluate(None, lacking, estimates=calls.append)
    with pytest.raises(DatasetError, match="yangqin: absent from all"):
        analyze_errors(FunctionEstimates(calls.append, STEMS), lacking)
    assert calls == []


def test_a_song_without_any_of_the_stems_is_not_separated(songs, tmp_path):
    names = []

    def of_dizi(track):
        names.append(track.name)
        return track.mixture()[None]

    tracks = [track.with_stems(["dizi"]) for track in songs]
    options = {"metrics": ["usdr"], "rows": ["mixture", "model"]}
    found = evaluate(None, tracks, estimates=of_dizi, **options)
    assert names == ["all", "duo"]
    assert found.tracks["pair"].scores["usdr"]["mixture"] == {"dizi": None}
    assert (found.n_absent("dizi"), found.n_silent("dizi")) == (1, 0)
    evaluate(None, tracks, estimates=of_dizi, stems_folder=tmp_path, **options)
    assert (tmp_path / "pair" / "dizi.wav").exists()  # its user asked for it


# ---- files --------------------------------------------------------------------------


@pytest.fixture
def on_disk(songs, tmp_path):
    """The songs, and estimates of the stems that each song has."""
    for track in songs:
        rows = zip(STEMS, track.sources(), estimated(track), strict=True)
        for stem, source, estimate in rows:
            for place, audio in (("songs", source), ("theirs", estimate)):
                if stem in track.present:
                    path = tmp_path / place / track.name / f"{stem}.wav"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    save_audio(path, audio, RATE, subtype="float32")
        if not track.mixture_is_sum:
            path = tmp_path / "songs" / track.name / "mixture.wav"
            save_audio(path, track.mixture(), RATE, subtype="float32")
    return tmp_path


def loaded(folder, on_missing):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* stems are absent in 2 of 3 songs")
        return load_dataset(folder / "songs", stems=STEMS, on_missing=on_missing)


def test_no_file_is_needed_of_an_absent_stem(on_disk, songs, lines):
    tracks, files = loaded(on_disk, "absent"), FileEstimates(on_disk / "theirs", STEMS)
    options = {"metrics": ["usdr"], "rows": ["model"]}
    found = evaluate(None, tracks, estimates=files, folder=on_disk / "run", **options)
    expected = evaluate(None, songs, estimates=estimated, **options)
    for stem in STEMS:
        theirs = expected.mean("usdr", "model", stem)
        assert found.mean("usdr", "model", stem) == pytest.approx(theirs, abs=1e-4)
    (on_disk / "theirs" / "pair" / "pipa.wav").unlink()
    with pytest.raises(AudioFileError, match=r"pair has no estimates at .*pipa\.wav"):
        evaluate(None, tracks, estimates=files, **options)


def test_the_same_files_with_silent_stems_are_scored_anew(on_disk, lines):
    options = {"metrics": ["nsdr"], "rows": ["silence"], "folder": on_disk / "run"}
    options["log"] = lines.append
    absent = evaluate(None, loaded(on_disk, "absent"), **options)
    assert absent.n_absent("pipa") == 1
    evaluate(None, loaded(on_disk, "absent"), **options)
    assert lines == []
    silent = evaluate(None, loaded(on_disk, "silence"), **options)
    assert (silent.n_absent("pipa"), silent.n_silent("pipa")) == (0, 1)
    assert sorted(lines) == [
        "duo: computed again: absent: no longer",
        "pair: computed again: absent: no longer",
    ]


def test_museval_files_leave_absent_stems_out(songs, tmp_path):
    options = {"metrics": ["usdr"], "rows": ["model"], "folder": tmp_path}
    evaluate(None, songs, estimates=estimated, museval=True, **options)
    for track in songs:
        path = tmp_path / "museval" / "test" / f"{track.name}.json"
        targets = json.loads(path.read_text("utf-8"))["targets"]
        assert [target["name"] for target in targets] == list(track.present)


# ---- error analysis -----------------------------------------------------------------


def test_an_analysis_is_that_of_each_song_alone(songs):
    found = analyze_errors(FunctionEstimates(estimated, STEMS), songs)
    assert found.sources == (*STEMS, REST)  # pipa and yangqin in a mixture with dizi
    for ours, track in zip(found.tracks, songs, strict=True):
        one, estimates = alone(track)
        source = FunctionEstimates(estimates, one.stems)
        (theirs,) = analyze_errors(source, [one]).tracks
        known = [STEMS.index(stem) for stem in track.present]
        assert (ours.absent, theirs.absent) == (track.absent, ())
        torch.testing.assert_close(ours.usdr[known], theirs.usdr)
        places = torch.tensor([*known, 3])
        for matrices, rows in (
            ([t.bleed.of_sources() for t in (ours, theirs)], places),
            (
                [t.bleed.of_errors() for t in (ours, theirs)],
                torch.tensor([*known, 3, 4]),
            ),
        ):
            mine, expected = matrices
            torch.testing.assert_close(
                mine[rows[:, None], places], expected, equal_nan=True
            )
            for stem in track.absent:
                index = STEMS.index(stem)
                assert mine[index].isnan().all()
                assert mine[:, index].isnan().all()
    assert {(e.track, e.stem) for e in found.worst} <= {
        (track.name, stem) for track in songs for stem in track.present
    }


def test_medians_are_those_of_the_songs_with_the_stem(songs, tmp_path):
    found = analyze_errors(FunctionEstimates(estimated, STEMS), songs, n_worst=1)
    summary = found.summary().set_index("stem")
    assert summary["songs"].tolist() == [2, 2, 3]
    scores = [track.usdr[0] for track in found.tracks if "dizi" not in track.absent]
    median = float(torch.stack(scores).quantile(0.5))
    assert summary.loc["dizi", "usdr of songs"] == pytest.approx(median)
    saved = json.loads(found.save(tmp_path / "errors.json").read_text("utf-8"))
    assert saved["tracks"]["pair"]["absent"] == ["dizi"]
    assert saved["tracks"]["pair"]["usdr"][0] is None
    page = write_analysis(tmp_path / "page.html", found, title="Errors", facts={})
    text = page.read_text("utf-8")
    assert "the songs that it is not absent from" in text
    assert text.count(">absent<") == 2  # in the table of all songs
    assert ">silent<" not in text


def test_without_absent_stems_nothing_is_said_of_them(songs, tmp_path):
    found = analyze_errors(FunctionEstimates(estimated, STEMS), songs[:1])
    assert "songs" not in found.summary()


def test_songs_without_any_of_the_stems_are_not_analyzed(songs):
    source = FunctionEstimates(lambda track: track.mixture()[None], ("dizi",))
    found = analyze_errors(source, songs)
    assert [track.name for track in found.tracks] == ["all", "duo"]
