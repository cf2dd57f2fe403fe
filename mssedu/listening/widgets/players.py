"""A player for one sound: waveform, spectrogram and one cursor over both.

    audio ─┬─▶ 16-bit samples ─▶ engine.js, waveform
           └─▶ spectral.stft ──▶ picture

Notebook: 01.
"""

import traitlets
from torch import Tensor

from mssedu.audio.tensors import peak_db
from mssedu.listening.widgets.base import ListeningWidget, joined
from mssedu.listening.widgets.pictures import axes, palette, picture
from mssedu.listening.widgets.sounds import check_sounds


class Player(ListeningWidget):
    """A sound with its waveform and its spectrogram, at its true level.

    Drag to mark a loop, click to go to a position; "Keys" on the page lists the keys.
    """

    _esm = joined("timeline.js", "picture.js", "player.js")
    _picture = traitlets.Dict().tag(sync=True)  # frames, hop_length, lowest_hz, range
    _caption = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        audio: Tensor,
        sample_rate: int,
        label: str = "",
        *,
        n_fft: int = 2048,
        hop_length: int = 512,
    ) -> None:
        """Show one sound.

        Args:
            audio: (channels, samples), mono or stereo, at most 30 s.
            sample_rate: Hz, 8000 … 96000.
            label: name of the sound on the page.
            n_fft, hop_length: of the picture, as in `mssedu.spectral.stft`.

        Raises:
            InputError: a wrong shape, NaN or Inf, more than 30 s, or as `stft`.

        Example:
            >>> Player(torch.rand(2, 44100), 44100, "noise")
            Player('noise', sample_rate=44100, seconds=1.0)
        """
        self.label = label
        ready = check_sounds({label: audio}, sample_rate)[label]
        image, frames = picture(ready, sample_rate, n_fft, hop_length)
        level = f"peak {float(peak_db(ready)):.1f} dBFS" if ready.any() else "silent"
        super().__init__(
            {label: ready},
            sample_rate,
            data={"picture": image, "palette": palette()},
            _picture=axes(frames, hop_length),
            _caption=f"{('mono', 'stereo')[len(ready) - 1]}, {sample_rate} Hz, {level}",
        )

    def facts(self) -> str:
        """The label if there is one, the sample rate and the length."""
        label = f"{self.label!r}, " if self.label else ""
        return f"{label}sample_rate={self.sample_rate}, seconds={self.seconds:.1f}"
