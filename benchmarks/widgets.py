"""How a whole song reaches the browser: FLAC beside MP3, by size, time and error.

    stems of data/test, repeated to 4 minutes ──▶ flac_pieces │ MP3 of 192 kbit/s
                                                  MB, processor seconds, SNR in dB

    python benchmarks/widgets.py

The widgets send FLAC: see mssedu/listening/widgets/sounds.py. About 40 s of processor
time.
"""

import io
import time

import numpy as np
import soundfile as sf
from torch import Tensor

import mssedu as ms
from mssedu.listening.widgets.sounds import flac_pieces

SECONDS = 240.0
SONG = "data/test/Sodium"


def flac(sound: Tensor, sample_rate: int) -> tuple[list[bytes], float]:
    """The files, and the value of full scale."""
    return flac_pieces(sound, sample_rate)


def mp3(sound: Tensor, sample_rate: int) -> tuple[list[bytes], float]:
    """The same with one MP3 file of 192 kbit/s, as libsndfile writes it."""
    settings = {"bitrate_mode": "CONSTANT", "compression_level": 0.4}
    sf.write(f := io.BytesIO(), sound.T.numpy(), sample_rate, format="MP3", **settings)
    return [f.getvalue()], 1.0


def decoded(files: list[bytes], scale: float) -> np.ndarray:
    """(samples, channels) of the files, one after the other."""
    steps = 32768 / 32767 * scale if files[0][:4] == b"fLaC" else 1.0
    return np.concatenate([sf.read(io.BytesIO(file))[0] for file in files]) * steps


def snr_db(sound: Tensor, decoded: np.ndarray) -> float:
    """Energy of a sound over that of the error; both have the same length."""
    true = sound.T.double().numpy()
    error = float(np.square(decoded - true).sum())
    return 10 * float(np.log10(np.square(true).sum() / error)) if error else np.inf


def main() -> None:
    """Print a line for each stem and codec, and the sum of each codec."""
    track = ms.load_track(SONG)
    rate = track.sample_rate
    for name, codec in {"FLAC": flac, "MP3": mp3}.items():
        megabytes = seconds = 0.0
        for stem, source in zip(track.stems, track.sources(), strict=True):
            times = int(SECONDS * rate) // source.shape[1] + 1
            sound = source.repeat(1, times)[:, : int(SECONDS * rate)]
            started = time.process_time()
            files, scale = codec(sound, rate)
            spent = time.process_time() - started
            size, error_db = sum(map(len, files)), snr_db(sound, decoded(files, scale))
            megabytes, seconds = megabytes + size / 1e6, seconds + spent
            line = f"{size / 1e6:5.1f} MB {spent:5.1f} s {error_db:5.1f} dB"
            print(f"{name:5} {stem:7} {line}")
        print(f"{name:5} {'all':7} {megabytes:5.1f} MB {seconds:5.1f} s")


if __name__ == "__main__":
    main()
