"""Encode and decode audio with a lossy codec, in memory and aligned to the sample.

    audio ──frames──▶ encoder ──packets──▶ decoder ──frames──▶ delay removed ──▶ audio

Frames have time stamps, which say how many samples encoder and decoder put before the
audio.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mssedu.errors import InputError

# Name -> encoder and decoder of FFmpeg
CODECS = {"mp3": ("libmp3lame", "mp3float"), "aac": ("aac", "aac")}


def round_trip(
    audio: NDArray[np.float32], sample_rate: int, codec: str, bitrate: int
) -> NDArray[np.float32]:
    """Encode and decode audio.

    Args:
        audio: (channels, samples), within ±1.
        sample_rate: Hz.
        codec: one of CODECS.
        bitrate: bit/s; the encoder takes the nearest that it has.

    Returns:
        (channels, samples), of the same length and in its place.

    Raises:
        InputError: a number of channels or a sample rate that the codec does not have.
    """
    import av

    channels, samples = audio.shape
    names = CODECS[codec]
    try:
        encoder: Any = av.CodecContext.create(names[0], "w")
        encoder.layout, encoder.format = {1: "mono", 2: "stereo"}[channels], "fltp"
        encoder.sample_rate, encoder.bit_rate = sample_rate, bitrate
        encoder.open()
    except (av.FFmpegError, KeyError) as error:
        raise InputError(
            f"{codec} cannot store {channels} channels at {sample_rate} Hz. It takes 1 "
            "or 2 channels at common rates, such as 44100."
        ) from error
    decoder: Any = av.CodecContext.create(names[1], "r")
    decoder.extradata = encoder.extradata
    size = encoder.frame_size
    # The last samples come out some frames after they went in.
    n_frames = math.ceil(samples / size) + 4
    padded = np.pad(audio, ((0, 0), (0, n_frames * size - samples)))
    decoded = []
    for first in [*range(0, n_frames * size, size), None]:
        frame = None
        if first is not None:
            piece = np.ascontiguousarray(padded[:, first : first + size])
            frame = av.AudioFrame.from_ndarray(piece, "fltp", encoder.layout.name)
            frame.sample_rate, frame.pts = sample_rate, first
            frame.time_base = Fraction(1, sample_rate)
        for packet in encoder.encode(frame):
            decoded += decoder.decode(packet)
    decoded += decoder.decode(None)
    # Decoders remove a part of the first frame or not, so the second says where it is.
    start = decoded[0].samples - decoded[1].pts
    whole = np.concatenate([frame.to_ndarray() for frame in decoded], axis=1)
    return whole[:, start : start + samples]
