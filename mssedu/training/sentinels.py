"""Sentinels of a run: where NaN comes from, and whether a model learns at all.

    a step without finite gradient ─▶ replay of its batch with hooks ─▶ the first layer
                                   ─▶ RUN/nan/step-N.safetensors + .json, the batch
    a validation ─▶ scores of the mixture and of silence? a loss as at the start?

A replay costs a step, and happens only after the failure.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from mssedu.audio.disk import is_full
from mssedu.audio.files import write_text, written_whole
from mssedu.data.segments import RandomSegments, Segment
from mssedu.separation.tensors import is_out_of_memory
from mssedu.training.config import TrainConfig
from mssedu.training.distributed import of_all
from mssedu.training.objective import Loss
from mssedu.training.step import batch_loss

FOLDER = "nan"  # of the batches, in the folder of the run
MOST_BATCHES = 5  # in a folder; a run that fails again and again needs no more
NEAR_DB = 0.2  # mean distance of two scores that stand for the same estimate
FLAT = 0.01  # share of the first loss by which a loss must fall
N_FLAT = 3  # validations after which it must have done so


# ---- NaN and Inf ---------------------------------------------------------------------


def examine(
    model: nn.Module,
    config: TrainConfig,
    loss: Loss,
    segments: RandomSegments,
    items: Sequence[int],
    name: Path,
) -> str:
    """Replay a batch that gave NaN or Inf, and write it to the disk.

    Args:
        model: stays unchanged.
        config: of the run.
        loss: of the run.
        segments: the data set.
        items: of this process; several processes each replay their own.
        name: of the files to write, without suffix.

    Returns:
        one sentence for the log, the same in all processes: where NaN or Inf first
        appeared, from which songs, and the file.
    """
    batch = default_collate([segments[item] for item in items])
    where = None
    for part in range(config.accumulate):
        sources = batch.sources.chunk(config.accumulate)[part]
        sources = sources.to(next(model.parameters()).device)
        present = batch.present.chunk(config.accumulate)[part]

        def compute(copied: nn.Module) -> Tensor:
            return batch_loss(copied, sources, config, loss, present)  # noqa: B023

        where = where or first_nonfinite(model, sources, compute)
    text = None
    if where is not None:
        path = dump_batch(name, batch, segments, items, where)
        text = f"it first appears in {where}, with {songs_of(segments, items)}"
        text += "" if path is None else f"; the batch is {path}"
    found = [one for one in of_all(text) if one is not None]
    return "; ".join(found) if found else "a second pass over the batch was finite"


def first_nonfinite(
    model: nn.Module, sources: Tensor, compute: Callable[[nn.Module], Tensor]
) -> str | None:
    """Where NaN or Inf first appears, in words: forwards, then backwards; or None.

    Args:
        model: stays unchanged; a copy of it runs in train mode, with hooks.
        sources: of the batch.
        compute: the loss of a model on that batch.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> _ = model[0].bias.data.fill_(float("inf"))
        >>> x = torch.ones(1, 2)
        >>> first_nonfinite(model, x, lambda m: m(x).sum())
        'the weights 0.bias'
    """
    if not sources.isfinite().all():
        return "the sources of the batch"
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            return f"the weights {name}"
    model = copy.deepcopy(model).train()
    model.zero_grad(set_to_none=True)
    outputs: list[str] = []
    gradients: list[str] = []
    for name, module in model.named_modules():
        label = f"{name or 'the model'} ({type(module).__name__})"
        module.register_forward_hook(_watch(label, outputs, gradients))
    devices = [sources.device] if sources.is_cuda else []
    try:
        with torch.random.fork_rng(devices):  # dropout goes on as without a replay
            value = compute(model)
            if outputs:
                return f"the output of {outputs[0]}"
            if not value.isfinite().all():
                return "the loss"
            value.backward()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return "unknown, as the memory is too small to look for it"
    if gradients:
        return f"the gradient at the output of {gradients[0]}"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {name}"
    return None


def _watch(
    label: str, outputs: list[str], gradients: list[str]
) -> Callable[[nn.Module, Any, Any], None]:
    """A hook that notes a layer whose output, or the gradient there, is not finite."""

    def look_back(gradient: Tensor) -> None:
        if not gradient.isfinite().all():
            gradients.append(label)

    def look(module: nn.Module, args: Any, output: Any) -> None:
        for tensor in _tensors(output):
            if not tensor.isfinite().all():
                outputs.append(label)
            elif tensor.requires_grad:
                tensor.register_hook(look_back)

    return look


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from _tensors(part)


def dump_batch(
    name: Path,
    batch: Segment,
    segments: RandomSegments,
    items: Sequence[int],
    where: str,
) -> Path | None:
    """Write a batch to the disk; None if that is full, or has `MOST_BATCHES` already.

    Args:
        name: of the files, without suffix.
        batch: sources and present, as the model got them.
        segments: the data set; it says where each item comes from.
        items: their numbers.
        where: NaN or Inf first appeared.

    Returns:
        path of the .safetensors, beside which a .json describes each item.
    """
    if len([*name.parent.glob("*.safetensors")]) >= MOST_BATCHES:
        return None
    tensors = {"sources": batch.sources.detach().cpu().contiguous()}
    tensors["present"] = batch.present.cpu().contiguous()
    origins = [{"item": item, "parts": segments.origins(item)} for item in items]
    document = {"where": where, "seed": segments.seed, "items": origins}
    path = name.with_name(f"{name.name}.safetensors")
    try:
        with written_whole(path) as temporary:
            temporary.write_bytes(safetensors.torch.save(tensors))
        text = json.dumps(document, indent=1, ensure_ascii=False)
        write_text(path.with_suffix(".json"), text)
    except OSError as error:
        if not is_full(error):
            raise
        return None
    return path


def songs_of(segments: RandomSegments, items: Sequence[int]) -> str:
    """The songs of a few items, with the seconds at which the excerpts begin."""
    places = [
        f"{origin['track']} at {origin['seconds']:.2f} s"
        for item in items
        for origin in segments.origins(item)
    ]
    names = list(dict.fromkeys(places))
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{', '.join(names[:8])}{more}"


# ---- a model that does not learn -----------------------------------------------------


def does_nothing(scores: Tensor, without_model: Mapping[str, Tensor]) -> str | None:
    """Which estimate without a model has the same scores, if one has.

    Args:
        scores: (tracks, stems) usdr, dB; NaN where there is none.
        without_model: the same of the "mixture" and of "silence".

    Example:
        >>> table = {"mixture": torch.tensor([[-5.0, -3.0]])}
        >>> does_nothing(torch.tensor([[-5.1, -3.0]]), table)
        'mixture'
    """
    distances = {
        name: float((scores - table).abs().nanmean())
        for name, table in without_model.items()
    }
    nearest = min(distances, key=distances.__getitem__, default=None)
    near = nearest is not None and distances[nearest] < NEAR_DB
    return nearest if near else None


def is_flat(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the loss of a run has never fallen, after a few validations.

    Example:
        >>> is_flat([{"loss": 0.1}, {"loss": 0.0999}, {"loss": 0.1}])
        True
    """
    losses = [entry["loss"] for entry in history if entry["loss"] is not None]
    if len(losses) < N_FLAT:
        return False
    return min(losses[1:]) > losses[0] - FLAT * abs(losses[0])
