"""A stem that is the sum of the others is found, whatever its name."""

import pytest
import torch

from mssedu.audio.tensors import audio_info
from mssedu.data.check import (
    check_mixtures,
    check_parts,
    check_stems_alike,
    check_track,
)
from mssedu.data.loading import demo_data, load_dataset
from mssedu.data.track import StemFile, Track
from mssedu.errors import DatasetError
from tests.data.trees import write_song

NAMES = ("vocals", "drums", "bass", "master")


def parts():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 2, 1000, generator=generator) / 10


def test_the_demo_songs_have_parts_only():
    for track in load_dataset(demo_data()):
        check_track(track)


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_sum_is_found(noise):
    total = parts().sum(0) + noise * torch.randn(2, 1000)
    sources = torch.cat([parts(), total[None]])
    with pytest.raises(DatasetError, match=r"master = vocals \+ drums \+ bass"):
        check_parts("song", NAMES, sources)


def test_a_sum_of_all_but_one_is_found():
    sources = torch.cat([parts(), parts()[1:].sum(0)[None]])
    with pytest.raises(DatasetError, match=r"master = drums \+ bass"):
        check_parts("song", NAMES, sources)


def test_a_stem_given_twice_is_found():
    with pytest.raises(DatasetError, match="a = b"):
        check_parts("song", ("a", "b"), parts()[:1].repeat(2, 1, 1))


def test_what_is_no_sum_passes():
    louder = parts().sum(0) + 0.05 * torch.randn(2, 1000)  # a remix, -11 dB away
    check_parts("song", NAMES, torch.cat([parts(), louder[None]]))
    silent = torch.cat([parts()[:1], torch.zeros(3, 2, 1000)])
    check_parts("song", NAMES, silent)
    check_parts("song", ("dizi",), parts()[:1])


def test_a_silent_begin_is_passed_over():
    late = torch.cat([torch.zeros(3, 2, 12000), parts().repeat(1, 1, 12)], -1)
    sources = dict(zip(NAMES, [*late, late.sum(0)], strict=True))
    track = Track.from_audio("late", sources, 1000)
    with pytest.raises(DatasetError, match="track 'late'"):
        check_track(track)


def lone(mixture=None):
    return Track.from_audio("lone", {"dizi": parts()[0]}, 1000, mixture=mixture)


def test_a_single_stem_needs_company():
    sources = dict(zip(NAMES, parts(), strict=False))
    whole = Track.from_audio("whole", sources, 1000).with_stems(["drums"])
    check_mixtures([whole])
    check_mixtures([lone(parts().sum(0))])
    check_mixtures([lone(), lone(parts().sum(0))])  # a solo among songs
    quantized = (parts()[0] * 2**15).round() / 2**15
    for alone in (lone(), lone(parts()[0]), lone(quantized)):
        with pytest.raises(DatasetError, match="copy its input"):
            check_mixtures([alone, lone()])


def test_absent_stems_are_passed_over():
    sources = dict(zip(NAMES, parts(), strict=False))
    track = Track.from_audio("gapped", sources, 1000, absent=["erhu"])
    check_track(track)
    total = {**sources, "master": parts().sum(0)}
    with pytest.raises(DatasetError, match=r"master = vocals \+ drums \+ bass"):
        check_track(Track.from_audio("a", total, 1000, absent=["erhu"]))
    recording = Track.from_audio("b", {"pipa": parts()[0]}, 1000, absent=["dizi"])
    check_mixtures([recording.with_stems(["dizi"]), lone()])


def recordings():
    """Two recordings of one stem each, as in a folder of single instruments."""
    pairs = zip(("dizi", "pipa"), parts(), strict=False)
    sources = [{name: audio} for name, audio in pairs]
    absent = ("pipa", "dizi")
    return [
        Track.from_audio(other, source, 1000, absent=[other]).with_stems(absent)
        for source, other in zip(sources, absent, strict=True)
    ]


def test_recordings_of_single_stems_need_remixing():
    check_mixtures(recordings())
    duo = Track.from_audio(
        "duo", dict(zip(("pipa", "dizi"), parts(), strict=False)), 1000
    )
    check_mixtures([*recordings(), duo], remix=False)  # a solo among songs
    for stems in (("pipa", "dizi"), ("dizi",)):
        songs = [track.with_stems(stems) for track in recordings()]
        with pytest.raises(DatasetError, match=r"one stem alone.*mssedu data build"):
            check_mixtures(songs, remix=False)


def test_a_mixture_file_makes_no_solo():
    pair = Track.from_audio("pair", {"dizi": parts()[0]}, 1000, mixture=parts().sum(0))
    check_mixtures([pair], remix=False)


def test_files_of_one_stem_are_told_apart(tmp_path):
    for name, n_samples in (("a", 800), ("b", 800), ("c", 700)):
        path = write_song(tmp_path, (name,), n_samples=n_samples) / f"{name}.wav"
        assert path.is_file()
    files = [StemFile("drums", tmp_path / f"{name}.wav") for name in "abc"]
    infos = [audio_info(file.path) for file in files]
    with pytest.raises(DatasetError, match=r"drums/c\.wav has 700 samples"):
        check_stems_alike(tmp_path, files, infos, "error")
