"""What a training run is: one frozen dataclass, from which the CLI makes its flags.

No torch in here, so that `mssedu train --help` starts at once. `mssedu.training.loop.fit` reads
it, every checkpoint carries it, and a recipe is the difference from these defaults.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from mssedu.errors import InputError, check_name, check_range, message
from mssedu.models.stems import stem_names

SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "bfloat16")
Stems = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="STEM [STEM …]")]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run.

    Raises:
        InputError: a value out of its range, or values that exclude each other.

    Example:
        >>> TrainConfig(model="open_unmix", preset="tiny", steps=2000).batch_size
        4
    """

    model: str = "spleeter"  # registry name
    preset: str = "paper"  # "paper", or "tiny" for two CPU cores and minutes
    # what to estimate, e.g. vocals, no_vocals or band=drums+bass (see mssedu.models.stems);
    # those of the preset if not given
    stems: Stems = None
    steps: int = 20_000  # optimizer steps
    batch_size: int = 4  # segments a step
    segment: float = 6.0  # seconds of audio a training example
    loss: str = "waveform_l1"  # name in mssedu.training.losses.LOSSES
    learning_rate: float = 1e-3  # peak step size of Adam
    betas: tuple[float, float] = (0.9, 0.999)  # Adam: memory of gradient and of square
    warmup_steps: int = 0  # steps of linear rise from 0 to learning_rate
    schedule: Literal["constant", "cosine"] = "constant"  # after the warm-up
    ema_decay: float = 0.0  # running average of the weights, e.g. 0.999; 0 = off
    clip_norm: float = 5.0  # longest gradient, L2 norm; 0 = no limit
    # stems of one example from different songs and times, with random channel swaps and
    # signs; if not, all stems of a moment as they were mixed, but for gain and silence
    remix: bool = True
    level_db: float | None = None  # bring each stem of each song to this RMS first
    gain_db: tuple[float, float] = (-10.0, 6.0)  # random gain a stem, low and high, dB
    silence: float = 0.0  # probability that a stem of an example is silent
    valid_every: int = 500  # steps between validations; each saves the state too
    save_every: int = 0  # steps between further saves; 0: every five minutes only
    seed: int = 0  # fixes data order and dropout
    device: str = "auto"  # "auto" (cuda, then mps, then cpu), "cpu", "cuda:1" …
    precision: Literal["float32", "bfloat16"] = "float32"  # bfloat16: by autocast
    n_workers: int = 0  # processes that read audio; 0 = in the training process

    def __post_init__(self) -> None:
        where = "TrainConfig"
        if isinstance(self.stems, str):
            remedy = f"Write ({self.stems!r},) for a single stem."
            raise InputError(message(where, "a tuple of stems", self.stems, remedy))
        if self.stems is not None:
            stem_names(self.stems)
        for name in ("steps", "batch_size", "valid_every"):
            check_range(name, getattr(self, name), 1)
        for name in ("seed", "n_workers", "clip_norm", "save_every"):
            check_range(name, getattr(self, name), 0)
        for name in ("segment", "learning_rate"):
            check_range(name, getattr(self, name), 0, low_open=True)
        for name, value in zip(("betas[0]", "betas[1]"), self.betas, strict=True):
            check_range(name, value, 0, 1, high_open=True)
        check_range("ema_decay", self.ema_decay, 0, 1, high_open=True)
        check_range("silence", self.silence, 0, 1, high_open=True)
        check_range("warmup_steps", self.warmup_steps, 0, self.steps)
        check_name("schedule", self.schedule, SCHEDULES)
        check_name("precision", self.precision, PRECISIONS)
        low, high = self.gain_db
        if not -120 <= low <= high <= 60:
            remedy = "Give the lower gain first; (0, 0) leaves the loudness alone."
            wanted = "gain_db with -120 ≤ low ≤ high ≤ 60"
            raise InputError(message(where, wanted, self.gain_db, remedy))
