"""The sounds of one trial, ready to be compared.

    files ─▶ excerpt, one rate and length ─▶ + anchors
          ─▶ one loudness ─▶ fades ─▶ headroom ─▶ sounds and the log of their gains

Files that differ in sample rate, channels or length are an error and are never adapted,
as they would no longer be the output of the system. Only levels are changed, and each
change is logged. Notebook: 13.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mssedu.audio.tensors import audio_info, load_audio
from mssedu.audio.words import sound_size
from mssedu.audio.writer import flac_bytes
from mssedu.errors import InputError, check_finite
from mssedu.listening.test.anchors import make_anchor
from mssedu.listening.test.design import LONGEST_SECONDS, REFERENCE, Design, Trial
from mssedu.listening.widgets.loudness import Gain, match_loudness, with_headroom
from mssedu.listening.widgets.sounds import encode, shape_of


@dataclass(frozen=True)
class Stimuli:
    """All sounds that a listener may play in a trial."""

    sounds: dict[str, Tensor]  # stimulus -> (channels, samples)
    sample_rate: int  # Hz
    gains: dict[str, Gain]  # of each sound, with the headroom

    def log(self) -> list[tuple[str, float, str]]:
        """Stimulus, gain in dB and reason, for `ResultStore.log_gains`."""
        return [(name, gain.gain_db, gain.note) for name, gain in self.gains.items()]


@dataclass(frozen=True)
class SoundFiles:
    """The stimuli of a trial as a browser gets them."""

    files: dict[str, bytes]  # stimulus -> 16-bit FLAC
    shape: dict[str, int]  # of each: sample_rate, channels, samples


def load_stimuli(design: Design, name: str) -> Stimuli:
    """Read the trial of a name, make its anchors and bring all sounds to one level.

    Raises:
        InputError: an unknown trial, files that differ in sample rate, channels or
            length, NaN or Inf, or in mushra more than 12 s.
        AudioFileError: a file cannot be read.
    """
    trial = design.trial(name)
    parts, sample_rate = load_excerpts(design, trial)
    reference, mixture = parts.pop(REFERENCE, None), parts.pop("mixture", None)
    sounds = dict(parts)
    if design.reference and reference is not None:
        sounds[REFERENCE] = reference
    seed = zlib.crc32(f"{design.seed} {name}".encode())
    for anchor in design.anchors or ():
        sounds[anchor] = make_anchor(
            anchor, sample_rate, reference=reference, mixture=mixture, seed=seed
        )
    gains = dict.fromkeys(sounds, Gain(0.0, "as it is"))
    if design.match_loudness:
        to = REFERENCE if design.reference else None
        sounds, gains = match_loudness(sounds, sample_rate, to)
    faded = {k: _faded(s, design.fade_seconds, sample_rate) for k, s in sounds.items()}
    ready, all_db = with_headroom(faded)
    if all_db:
        why = f"; all {all_db:.1f} dB, not to clip"
        gains = {k: Gain(g.gain_db + all_db, g.note + why) for k, g in gains.items()}
    return Stimuli(ready, sample_rate, gains)


def encode_stimuli(stimuli: Stimuli) -> SoundFiles:
    """All sounds as FLAC files, with the same samples that the notebook widget gets."""
    files, shape, sample_rate = {}, dict[str, int](), stimuli.sample_rate
    for name, sound in stimuli.sounds.items():
        steps, _ = encode(sound)  # the full scale is 1, as stimuli never exceed it
        samples = np.frombuffer(steps, "<i2").astype(np.int16).reshape(sound.shape)
        files[name] = flac_bytes(torch.from_numpy(samples), sample_rate)
        shape = shape_of(sound, sample_rate)
    return SoundFiles(files, shape)


def check_files(design: Design) -> None:
    """Raise AudioFileError for a file of a test that is missing, or is no audio."""
    for trial in design.trials:
        for file in trial.files.values():
            audio_info(design.folder / file)


def load_excerpts(design: Design, trial: Trial) -> tuple[dict[str, Tensor], int]:
    """Every file of a trial without any change: systems, "reference" and "mixture".

    Returns:
        Name -> (channels, samples), and the sample rate in Hz.

    Raises:
        InputError, AudioFileError: as `load_stimuli`.
    """
    sounds: dict[str, Tensor] = {}
    first = ""  # what all files must have
    for name, file in trial.files.items():
        path = design.folder / file
        audio, sample_rate = load_audio(
            path,
            start_seconds=trial.start_seconds,
            duration_seconds=trial.duration_seconds,
        )
        check_finite(str(path), audio, sample_rate)
        samples = audio.shape[-1]
        shape = sound_size(sample_rate, len(audio), samples)
        first = first or shape
        if shape != first:
            raise InputError(
                f"{path} has {shape}, and the files before it have {first}. Make all "
                "versions of an excerpt alike before the test."
            )
        sounds[name] = audio
    seconds = samples / sample_rate
    if design.test == "mushra" and seconds > LONGEST_SECONDS:
        raise InputError(
            f"trial {trial.name!r} is {seconds:.1f} s long, and ITU-R BS.1534 allows "
            f"at most {LONGEST_SECONDS:g} s. Set duration_seconds."
        )
    return sounds, sample_rate


def _faded(sound: Tensor, seconds: float, sample_rate: int) -> Tensor:
    """The sound with a linear fade at each end."""
    length = min(round(seconds * sample_rate), sound.shape[-1] // 2)
    ramp = torch.ones(sound.shape[-1])
    if length:
        ramp[:length] = torch.arange(length) / length
        ramp[-length:] = ramp[:length].flip(0)
    return sound * ramp
