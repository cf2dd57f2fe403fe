"""Settings of a training run: one frozen dataclass.

Each field is a flag of `mssedu train`; the comment above it is the help text.
`mssedu.training.fields` reads the fields of a model, and `mssedu.training.runs` the
settings of a run on the disk.

This file needs no torch: `mssedu train --help` starts at once.
"""

import math
import typing
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from mssedu.data import Balance, Effect
from mssedu.errors import InputError, check_name, check_range
from mssedu.models.stems import stem_names

Optimizer = Literal["adam", "adamw", "muon"]
Schedule = Literal["constant", "cosine", "decay", "plateau", "restarts"]
Precision = Literal["float32", "bfloat16", "float16"]
Metric = Literal["usdr", "valid_loss"]  # mssedu.training.criterion has the directions
CHOICES = {
    "optimizer": Optimizer,
    "schedule": Schedule,
    "precision": Precision,
    "best_metric": Metric,
    "balance": Balance,
}
# The smallest value of each field that is a number without another bound
LOWEST = {
    **dict.fromkeys(("steps", "batch_size", "accumulate", "valid_every"), 1),
    **dict.fromkeys(("seed", "n_workers", "clip_norm", "save_every"), 0),
    **dict.fromkeys(("weight_decay", "svd_penalty", "early_stop", "restart_every"), 0),
    "decay_every": 0,
    **dict.fromkeys(("plateau_patience", "valid_tracks", "valid_seconds"), 0),
    **dict.fromkeys(("log_seconds", "overfit"), 0),
}
SHARES = ("mixup", "effect_probability")  # from 0 to 1
PAIRS = ("betas", "gain_db")
WEIGHTED = ("loss", "stem_weights")  # NAME=WEIGHT each

Stems = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="STEM [STEM …]")]
Terms = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME[=WEIGHT] […]")]
Decays = Annotated[tuple[float, ...], tyro.conf.arg(metavar="DECAY [DECAY …]")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run.

    Raises:
        InputError: a value out of its range, or values that exclude each other.

    Example:
        >>> TrainConfig(model="open_unmix", preset="tiny", steps=2000).batch_size
        4
    """

    # The architecture to train: a name of `mssedu models`, or FILE.py:CLASS for one of
    # your own.
    model: str = "spleeter"
    # "paper" is the published size; "tiny" trains on two CPU cores in minutes.
    preset: str = "paper"
    # The stems to estimate, such as vocals, no_vocals or band=drums+bass (see
    # mssedu.models.stems); None takes those of the preset.
    stems: Stems = None
    # The run ends after this many optimizer steps.
    steps: int = 20_000
    # The run ends earlier if it has taken this much time, and a cosine schedule follows
    # the share that is spent: on a CPU in processor seconds of all threads (an hour on
    # two cores is 7200), on a GPU in seconds of the clock. None sets no limit.
    budget_seconds: float | None = None
    # Each step takes this many segments; halve it if memory runs out.
    batch_size: int = 4
    # A batch is computed in this many parts, one after the other, which takes less
    # memory; the gradient is the mean over the parts.
    accumulate: int = 1
    # Each training example has this many seconds; longer ones give more context and
    # take more memory.
    segment: float = 6.0
    # The loss to minimize, by its name in mssedu.training.LOSSES, or a sum such as
    # waveform_l1=1 multi_resolution_stft=0.5; try thresholded_snr in short runs.
    loss: Terms = ("waveform_l1",)
    # The weight of a stem in the loss, such as vocals=2; the others have the weight 1.
    stem_weights: Terms = ()
    # The sum of the largest squared singular values of the matrices is added to the
    # loss with this factor; 0 leaves it out, as most models do, try 1e-5.
    svd_penalty: float = 0.0
    # In each step, the weights carry the noise of a rounding to this many bits, so that
    # they can be rounded later (see mssedu.training.noise); 0 leaves it out, try 4.
    noise_bits: int = 0
    # adam; adamw, which shrinks the weights apart from the gradient; or muon, which
    # gives the step of each matrix equal singular values and leaves the rest to adamw.
    optimizer: Optimizer = "adam"
    # The optimizer also shrinks the weights by this factor; try 1e-5 with adam and 1e-2
    # with adamw and muon.
    weight_decay: float = 0.0
    # The highest step size of the optimizer; divide it by 3 if the loss becomes NaN.
    learning_rate: float = 1e-3
    # Adam averages the gradient and its square with these two decays.
    betas: tuple[float, float] = (0.9, 0.999)
    # The learning rate first rises linearly for this many steps; try 1000 if training a
    # transformer starts with NaN.
    warmup_steps: int = 0
    # After the warm-up, the learning rate stays constant; falls to 0 as a cosine; falls
    # in equal steps of time (decay); falls at each plateau of the validation; or falls
    # as a cosine and restarts.
    schedule: Schedule = "constant"
    # The schedule decay changes the learning rate after every so many steps, counted
    # from the first one.
    decay_every: int = 0
    # The schedule decay multiplies the learning rate by this factor each time.
    decay_factor: float = 0.1
    # A plateau multiplies the learning rate by this factor.
    plateau_factor: float = 0.3
    # A plateau is this many validations in a row without a better best_metric.
    plateau_patience: int = 80
    # The cosine of the schedule restarts begins again after every so many steps.
    restart_every: int = 0
    # A running average of the weights with each of these decays is validated, and the
    # best is saved; try 0.999 in long runs, each further one costs a validation.
    ema_decay: Decays = ()
    # A gradient with a larger L2 norm is scaled down to this norm; 0 turns this off.
    clip_norm: float = 5.0
    # The stems of an example come from different songs and times, with random channel
    # swaps and signs; without it they come from one moment of one song, and only gain,
    # silence and effects vary.
    remix: bool = True
    # A song is chosen in proportion to its duration; as often as any other song; or so
    # that each stem comes as often as the others, for stems that few songs have (stem
    # matters without remix only).
    balance: Balance = "duration"
    # A stem of an example that is quieter than this RMS level, in dB, is chosen again,
    # 10 times at most; None takes the first choice, try -60 for stems that often pause.
    min_active_db: float | None = None
    # Each stem of each song is first brought to this RMS level, in dB; None keeps its
    # level.
    level_db: float | None = None
    # Each stem of an example gets a random gain between these two values, in dB.
    gain_db: tuple[float, float] = (-10.0, 6.0)
    # Each stem of an example is silent with this probability; try 0.1 for stems that
    # songs often lack.
    silence: float = 0.0
    # The stems of an example come from songs with a similar tempo and a related key,
    # and begin on a beat; it needs remix, and at first some seconds for each song.
    matched: bool = False
    # Each stem of an example is a sum of two recordings with this probability, which
    # needs remix; try 0.2 for choirs and guitars.
    mixup: float = 0.0
    # These effects change the stems of an example, one after the other (see
    # mssedu.data.EFFECTS); pitch, tempo and codec take the most time.
    effects: tuple[Effect, ...] = ()
    # Each effect changes each stem of an example with this probability.
    effect_probability: float = 0.1
    # A validation, which also saves the state, follows every so many steps.
    valid_every: int = 500
    # Validations take this many of the songs, evenly chosen and always the same; 0
    # takes all.
    valid_tracks: int = 0
    # Validations take this many seconds from the middle of each song; 0 takes all.
    valid_seconds: float = 0.0
    # The weights with the highest usdr are the best ones, or those with the lowest loss
    # on the validation songs.
    best_metric: Metric = "usdr"
    # The run ends after this many validations in a row without a better best_metric; 0
    # does all steps.
    early_stop: int = 0
    # The first weights come from this run folder, file or published name, as far as
    # names and shapes agree; None begins with random weights.
    init: str | None = None
    # Begin from other weights even if less than half of the model agrees with them.
    init_partly: Flag = False
    # Weights whose names match one of these patterns do not change, such as
    # "encoder.*"; the running statistics in these parts stay, too.
    freeze: tuple[str, ...] = ()
    # The state is also saved every so many steps; 0 saves it at validations and by
    # time only.
    save_every: int = 0
    # The state is also saved when so many minutes have passed since it was saved.
    save_minutes: float = 5.0
    # A line of the log says every so many seconds how fast the run is and how long it
    # will take; 0 leaves it out.
    log_seconds: float = 60.0
    # Learn this many examples by heart instead, without a validation: a test that any
    # model passes within 300 steps unless something is wrong. 0 trains as usual.
    overfit: int = 0
    # The seed fixes the order of the data and dropout, on the command line also the
    # first weights.
    seed: int = 0
    # The device that trains is cpu, cuda, cuda:1 or mps; auto takes the fastest one.
    device: str = "auto"
    # bfloat16 computes by autocast, which saves time and memory on recent GPUs; float16
    # does so on older ones, with a scaled loss; the weights stay float32.
    precision: Precision = "float32"
    # Compile the repeated blocks of the model, which takes minutes at first and makes
    # long runs faster; it needs a compiler.
    compile: Flag = False
    # This many processes read audio; 0 reads in the training process, raise it if the
    # log reports waiting for data.
    n_workers: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.stems, str):
            raise InputError(
                f"stems must be a tuple, got {self.stems!r}. Write ({self.stems!r},) "
                "for a single stem."
            )
        if self.stems is not None:
            stem_names(self.stems)
        self._check_forms()
        for name, choice in CHOICES.items():
            check_name(name, getattr(self, name), typing.get_args(choice))
        for name, lowest in LOWEST.items():
            check_range(name, getattr(self, name), lowest)
        for name in ("segment", "learning_rate", "save_minutes"):
            check_range(name, getattr(self, name), 0, low_open=True)
        for name, value in zip(("betas[0]", "betas[1]"), self.betas, strict=True):
            check_range(name, value, 0, 1, high_open=True)
        for decay in self.ema_decay:
            check_range("ema_decay", decay, 0, 1, low_open=True, high_open=True)
        for name in ("plateau_factor", "decay_factor"):
            value = getattr(self, name)
            check_range(name, value, 0, 1, low_open=True, high_open=True)
        check_range("silence", self.silence, 0, 1, high_open=True)
        for name in SHARES:
            check_range(name, getattr(self, name), 0, 1)
        for effect in self.effects:
            check_name("effect", effect, typing.get_args(Effect))
        check_range("noise_bits", self.noise_bits, 0, 16)
        check_range("warmup_steps", self.warmup_steps, 0, self.steps)
        if self.budget_seconds is not None:
            check_range("budget_seconds", self.budget_seconds, 0, low_open=True)
        if self.min_active_db is not None:
            check_range("min_active_db", self.min_active_db, -120, 0)
        low, high = self.gain_db
        if not -120 <= low <= high <= 60:
            raise InputError(
                f"gain_db must be two values from -120 to 60 dB, the lower one first, "
                f"got {self.gain_db}. (0, 0) changes no level."
            )
        self._check_together()

    def _check_forms(self) -> None:
        """Tuples are tuples, and a single loss or decay becomes a tuple of one.

        So were they in the first versions, whose runs go on.
        """
        if isinstance(self.loss, str):
            object.__setattr__(self, "loss", (self.loss,))
        if isinstance(self.ema_decay, int | float):
            decays = (self.ema_decay,) if self.ema_decay else ()
            object.__setattr__(self, "ema_decay", decays)
        for name in PAIRS:
            value = getattr(self, name)
            if not (isinstance(value, tuple) and len(value) == 2):
                raise InputError(f"{name} must be a tuple of two numbers, got {value}.")
        for name in WEIGHTED:
            weights(name, getattr(self, name))
        if not self.loss:
            raise InputError("loss must name at least one loss. Write waveform_l1.")
        if len(set(self.ema_decay)) < len(self.ema_decay):
            raise InputError(
                f"ema_decay has a value twice: {self.ema_decay}. Leave one out."
            )

    def _check_together(self) -> None:
        """Fields that need or exclude each other."""
        if self.batch_size % self.accumulate:
            raise InputError(
                f"accumulate must divide batch_size, got {self.accumulate} parts of "
                f"{self.batch_size} segments. Choose another --accumulate."
            )
        if self.schedule == "restarts" and not self.restart_every:
            raise InputError(
                "the schedule restarts needs restart_every, the steps between two "
                f"restarts. Choose --restart-every {max(self.steps // 4, 1)}, for "
                "example."
            )
        if self.schedule == "decay" and not self.decay_every:
            raise InputError(
                "the schedule decay needs decay_every, the steps between two changes. "
                f"Choose --decay-every {max(self.steps // 4, 1)}, for example."
            )
        if self.init_partly and self.init is None:
            raise InputError("init_partly needs init. Say where the weights are from.")


def weights(name: str, terms: tuple[str, ...]) -> dict[str, float]:
    """Read NAME or NAME=WEIGHT; the weight of a name alone is 1.

    Args:
        name: of the field, for errors.
        terms: as the user wrote them.

    Raises:
        InputError: a name twice, or a weight that is not a number of at least 0.

    Example:
        >>> weights("loss", ("waveform_l1", "magnitude_mse=0.5"))
        {'waveform_l1': 1.0, 'magnitude_mse': 0.5}
    """
    if isinstance(terms, str):
        raise InputError(f"{name} must be a tuple, got {terms!r}. Write ({terms!r},).")
    result: dict[str, float] = {}
    for term in terms:
        key, equals, text = (part.strip() for part in term.partition("="))
        try:
            weight = float(text) if equals else 1.0
        except ValueError:
            weight = math.nan
        if not key or not 0 <= weight < math.inf:
            raise InputError(
                f"{name} takes NAME or NAME=WEIGHT with a weight of at least 0, got "
                f"{term!r}. Write for example {key or 'vocals'}=2."
            )
        if key in result:
            raise InputError(f"{name} has {key!r} twice. Leave one out.")
        result[key] = weight
    return result
