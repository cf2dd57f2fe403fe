"""Gates before the first step: what would end a long run later fails within seconds.

    memory estimated ─▶ one real step ─▶ largest batch (CUDA) ─▶ one validation song
    ─▶ weights written and read back ─▶ seconds of a step, an epoch, the run ─▶ step 1

All gates work on a copy of the model. `mssedu.training.validation` checks the songs
before, `mssedu.training.record` the disk. The last gate is a run of its own:
`mssedu train --overfit 1` must learn one example by heart, which any model can unless
something is wrong.
"""

import copy
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from mssedu.audio.words import counted
from mssedu.data.segments import RandomSegments, Segment
from mssedu.data.track import Track
from mssedu.errors import CheckpointError, InputError, MssEduError, SetupError
from mssedu.models.contract import config_of
from mssedu.separation.record import peak_memory_mb
from mssedu.separation.tensors import is_out_of_memory
from mssedu.training.config import TrainConfig, weights
from mssedu.training.distributed import n_processes, part_of
from mssedu.training.pace import in_words
from mssedu.training.sentinels import first_nonfinite
from mssedu.training.validation import enough_memory, validate
from mssedu.weights.checkpoint import load_weights, read_checkpoint, save_checkpoint

MOST_TIMES = 64  # times batch_size: no larger batch is tried
PROBE_SECONDS = 2.0  # of the mixture that both models of the round trip separate
TOLERANCE = 1e-5  # of the peak, by which two equal models may differ in rounding
OVERFIT_FACTOR = 2.0  # --overfit must bring the loss down by this factor
OVERFIT_DB = 6.0  # or by so much, if the loss is in dB
OVERFIT_STEPS = 300  # within so many steps, or those of the config if they are fewer
DB_LOSSES = ("si_sdr_loss", "thresholded_snr", "log_wmse_loss")

LossOf = Callable[[nn.Module, Segment], Tensor]  # of a batch, with its graph
Step = Callable[[Segment], float]  # on a batch from the CPU; its loss, may be NaN
Trainer = Callable[[nn.Module], Step]


def rehearse(
    model: nn.Module,
    segments: RandomSegments,
    valid_tracks: Sequence[Track] | None,
    config: TrainConfig,
    *,
    loss_of: LossOf,
    trainer: Trainer,
    is_new: bool,
    log: Callable[[str], None],
) -> None:
    """Run real steps and a real validation on copies, and log what they cost.

    Args:
        model: on its device.
        segments: of the run.
        valid_tracks: songs with the stems of the model.
        config: of the run.
        loss_of: loss of a model on a batch.
        trainer: makes the function that trains a model step by step.
        is_new: whether the run begins; then the largest batch is also found.
        log: is called with each sentence.

    Raises:
        InputError: a batch that is too small for batch norm, or a loss or gradient that
            is not finite.
        SetupError: too little memory.
    """
    device = next(model.parameters()).device
    items = range(part_of(config.batch_size))
    batch = default_collate([segments[item] for item in items])
    with enough_memory(config):
        if device.type == "cpu":
            n = len(batch.sources) // config.accumulate  # examples at the same time
            part = Segment(batch.sources[:n], batch.present[:n])
            check_memory(model, part, loss_of)
        seconds = _measured_step(model, batch, loss_of, trainer)
    if device.type == "cuda" and is_new and n_processes() == 1:
        log_largest_batch(model, batch, trainer, log)
    free, peak = free_memory(device), peak_memory_mb(device)
    text = f"a step takes {seconds:.3g} s, {counted(config.steps, 'step')} "
    text += in_words(seconds * config.steps)
    n_examples = math.ceil(sum(t.duration for t in segments.tracks) / config.segment)
    epoch = math.ceil(n_examples / config.batch_size)
    text += f", an epoch of {counted(epoch, 'step')} {in_words(seconds * epoch)}"
    if valid_tracks:
        each = _measured_validation(model, valid_tracks)
        text += f"; a validation {in_words(each * max(len(config.ema_decay), 1))}"
    if peak is not None and free is not None:
        text += f"; peak memory {peak / 1e3:.1f} GB, {free / 1e9:.1f} GB are free"
    log(text)
    chunk = vars(config_of(model)).get("segment", 0.0)  # Spleeter has it from frames
    if is_new and chunk > config.segment:
        log(
            f"the model separates chunks of {chunk:g} s and learns from "
            f"{config.segment:g} s. Attention can score worse on longer chunks: "
            f"compare separate --segment {config.segment:g}, or set "
            f"model.segment={config.segment:g}"
        )


def _measured_step(
    model: nn.Module,
    batch: Segment,
    loss_of: LossOf,
    trainer: Trainer,
) -> float:
    """Seconds of the second step: the first one allocates memory."""
    step = trainer(copy.deepcopy(model))
    try:
        value = step(batch)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            "batch norm needs more than one value per channel, and the batch gives it "
            "one. Use --batch-size 2 or more, a smaller --accumulate, or a longer "
            "--segment."
        ) from error
    if not math.isfinite(value):
        sources = batch.sources.to(next(model.parameters()).device)
        there = Segment(sources, batch.present)
        where = first_nonfinite(model, sources, lambda m: loss_of(m, there))
        if where is not None:  # else the scale of float16 was too high, and falls now
            raise InputError(
                "the first batch gives a loss or a gradient that is not finite: it "
                f"first appears in {where}. Look for NaN in the data and in the "
                "weights of the model."
            )
    began = time.perf_counter()
    step(batch)  # it returns the loss, and so waits for the device
    return time.perf_counter() - began


def _measured_validation(model: nn.Module, tracks: Sequence[Track]) -> float:
    """Seconds to separate and score all tracks, from those of the shortest one."""
    track = min(tracks, key=lambda track: track.duration)
    began = time.perf_counter()
    validate(copy.deepcopy(model), [track], config_of(model).stems)
    seconds = time.perf_counter() - began
    return seconds * sum(other.duration for other in tracks) / track.duration


# ---- memory -------------------------------------------------------------------------


def free_memory(device: torch.device) -> int | None:
    """Bytes that a step can take on a device; None if the system does not say.

    Example:
        >>> free = free_memory(torch.device("cpu"))
        >>> free is None or free > 0
        True
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device)
        unused -= torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type != "cpu":
        return None
    try:
        text = Path("/proc/meminfo").read_text("utf-8")
    except OSError:  # not Linux
        return None
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    free = int(lines["MemAvailable"].split()[0]) * 1024
    return min(free, _free_in_group() or free)


def _free_in_group() -> int | None:
    """Bytes that the limit of a container leaves; None without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = (
            int((folder / name).read_text())
            for name in ("memory.max", "memory.current")
        )
        stat = (folder / "memory.stat").read_text()
    except (OSError, ValueError):  # no such group, or "max": no limit
        return None
    facts = dict(line.split() for line in stat.splitlines())
    return limit - used + int(facts.get("inactive_file", 0))  # a cache gives way


def check_memory(model: nn.Module, batch: Segment, loss_of: LossOf) -> None:
    """Raise SetupError if a batch surely needs more memory than the CPU has free.

    A process that takes too much is killed without a message. One example shows what a
    forward pass keeps for the backward pass; the batch keeps so much for each of its
    examples. Buffers within a layer come on top, so the estimate is a lower bound.
    """
    n, free = len(batch.sources), free_memory(batch.sources.device)
    if n == 1 or free is None:
        return
    one = Segment(batch.sources[:1], batch.present[:1])
    with counted_bytes() as kept:
        try:
            loss_of(copy.deepcopy(model).train(), one)
        except ValueError:  # batch norm may need two examples
            return
    n_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
    per_example = max(sum(kept.values()) - n_bytes, 1)
    fixed = 4 * n_bytes  # weights, gradient, and Adam's two moments
    if n * per_example + fixed > free:
        most = int((free - fixed) // per_example)
        remedy = f"Use --batch-size {most} or less" if most > 0 else "Use less"
        raise SetupError(
            f"a batch of {n} needs at least {(n * per_example + fixed) / 1e9:.3g} GB "
            f"of memory, and {free / 1e9:.3g} GB are free. {remedy}, a larger "
            "--accumulate, or a shorter --segment (batch_size, accumulate, segment in "
            "Python)."
        )


@contextmanager
def counted_bytes() -> Iterator[dict[int, int]]:
    """Size of each piece of memory that is kept for a backward pass, while open.

    Example:
        >>> weight = torch.ones(10, requires_grad=True)
        >>> with counted_bytes() as kept:
        ...     result = (weight * torch.ones(10)).sum()
        >>> sum(kept.values())  # the ones, 10 values of 4 bytes
        40
    """
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


def log_largest_batch(
    model: nn.Module,
    batch: Segment,
    trainer: Trainer,
    log: Callable[[str], None],
) -> None:
    """Find the largest batch that a card can train on, and log it."""

    def fits(n: int) -> bool:
        rows = torch.arange(n) % len(batch.sources)
        try:
            step = trainer(copy.deepcopy(model))
            step(Segment(batch.sources[rows], batch.present[rows]))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            torch.cuda.empty_cache()
        return True

    n = len(batch.sources)
    largest = largest_batch(fits, n, MOST_TIMES * n)
    more = "at least " if largest >= MOST_TIMES * n else ""
    log(f"largest batch that fits into the memory of the card: {more}{largest}")


def largest_batch(fits: Callable[[int], bool], first: int, most: int) -> int:
    """The largest batch up to `most` that fits, to an eighth; 0 if none does.

    Args:
        fits: whether a batch of a size fits; a larger one never does if it does not.
        first: the size to try first.
        most: no larger one is tried.

    Example:
        >>> largest_batch(lambda n: n <= 21, 4, 1000)
        20
    """
    low, high = 0, first  # low fits; high is the next one to try
    while high <= most and fits(high):
        low, high = high, 2 * high
    if low == 0:
        while high > 1 and low == 0:
            high //= 2
            low = high if fits(high) else 0
        high *= 2
    high = min(high, most + 1)  # the smallest that is known not to fit
    while high - low > max(1, low // 8):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


# ---- round trip ---------------------------------------------------------------------


def check_round_trip(
    model: nn.Module, folder: Path, mixture: Tensor, log: Callable[[str], None]
) -> None:
    """Write the weights, read them back, and compare weights and output.

    The output of a model that was changed in memory, such as by another `forward`, is
    not compared: no file can hold the change.

    Args:
        model: as it would be saved at the end of the run.
        folder: of the run; a temporary folder in it is removed at the end.
        mixture: (channels, samples), of which the first two seconds are separated.
        log: is called with a sentence if the model was changed in memory.

    Raises:
        CheckpointError: the model that is read back is another one.
        InputError, DiskError: the weights cannot be saved.
    """
    parameter = next(model.parameters())
    gate = folder / ".gate"
    shutil.rmtree(gate, ignore_errors=True)  # of a killed process
    try:
        path = save_checkpoint(gate / "gate.safetensors", model)
        written = read_checkpoint(path).weights
    finally:
        shutil.rmtree(gate, ignore_errors=True)
    again = type(model)(config_of(model))
    load_weights(again, written, where="the weights that were written")
    again.to(parameter.device)
    own = model.state_dict()
    wrong = [n for n, t in again.state_dict().items() if not torch.equal(t, own[n])]
    if wrong:
        raise CheckpointError(
            f"the weights that were written and read back differ in {len(wrong)} "
            f"tensors, such as {wrong[0]}. Check the disk of {folder.absolute()}."
        )
    pairs = zip(model.named_modules(), again.modules(), strict=False)
    changed = [
        name or type(module).__name__
        for (name, module), other in pairs
        if "forward" in vars(module) or type(module) is not type(other)
    ]
    if changed:
        log(
            f"{changed[0]} was changed after it was built: its checkpoints load as a "
            "model without this change"
        )
        return
    length = round(PROBE_SECONDS * config_of(model).sample_rate)
    probe = mixture[None, :, :length].to(parameter.device, parameter.dtype)
    with torch.no_grad():
        before, after = (m.eval()(probe) for m in (copy.deepcopy(model), again))
    error = float((before - after).abs().max() / before.abs().max().clamp(min=1e-12))
    if not error <= TOLERANCE:
        raise CheckpointError(
            f"the model that was written and read back gives another output: the error "
            f"is {error:.2g} of the peak. Keep all that the output depends on in the "
            "config, the parameters and the buffers of the model."
        )


# ---- a few examples by heart ---------------------------------------------------------


class Overfit:
    """Whether a run with --overfit has learned its examples.

    Args:
        config: of the run, as `overfit_config` returns it.
        log: is called with a sentence at the end.
    """

    def __init__(self, config: TrainConfig, log: Callable[[str], None]) -> None:
        self.config, self.log = config, log
        self.first: float | None = None  # loss of the first step

    def is_done(self, step: int, loss: float) -> bool:
        """Note the loss of a step, NaN if it is not known; whether it fell enough.

        Raises:
            MssEduError: it did not, and this was the last step.
        """
        if not self.config.overfit or not math.isfinite(loss):
            return False
        self.first = loss if self.first is None else self.first
        if is_learned(self.first, loss, self.config):
            self.log(
                "the model learns: the loss of "
                f"{counted(self.config.overfit, 'example')} went from {self.first:.4g} "
                f"to {loss:.4g} in {counted(step, 'step')}"
            )
            return True
        if step == self.config.steps:
            raise not_learned(self.first, loss, self.config)
        return False


def overfit_config(config: TrainConfig) -> TrainConfig:
    """The config of a run with --overfit: few steps, and no validation before the end.

    Example:
        >>> config = overfit_config(TrainConfig(overfit=1, warmup_steps=1000))
        >>> config.steps, config.warmup_steps, config.valid_every
        (300, 0, 300)
    """
    if not config.overfit:
        return config
    steps = min(OVERFIT_STEPS, config.steps)
    return replace(
        config,
        steps=steps,
        warmup_steps=0,
        schedule="constant",
        valid_every=steps,
        early_stop=0,
        best_metric="usdr",
    )


def is_learned(first: float, last: float, config: TrainConfig) -> bool:
    """Whether the loss has fallen as far as --overfit asks for.

    Example:
        >>> is_learned(0.1, 0.04, TrainConfig(loss=("waveform_l1",)))
        True
        >>> is_learned(3.0, 1.0, TrainConfig(loss=("si_sdr_loss",)))  # 2 of 6 dB
        False
    """
    if _is_in_db(config):
        return last <= first - OVERFIT_DB
    return last <= first / OVERFIT_FACTOR


def not_learned(first: float, last: float, config: TrainConfig) -> MssEduError:
    """The error of a run with --overfit that has not learned its examples."""
    goal = f"the factor {OVERFIT_FACTOR:g}"
    goal = f"{OVERFIT_DB:g} dB" if _is_in_db(config) else goal
    return MssEduError(
        f"the model cannot learn {counted(config.overfit, 'example')} by heart: in "
        f"{counted(config.steps, 'step')} the loss went from {first:.4g} to "
        f"{last:.4g}, and must fall by {goal}. Try another --learning-rate "
        "(learning_rate in Python); then look at --clip-norm, at the order of the "
        "stems, at layers without a gradient, and whether the stems of the songs are "
        "audible."
    )


def _is_in_db(config: TrainConfig) -> bool:
    return any(name in DB_LOSSES for name in weights("loss", config.loss))
