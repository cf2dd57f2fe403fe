"""How a run begins: weights of another run, and parts that stay as they are.

    --init htdemucs        weights of other models, as far as names and shapes agree
    --freeze "encoder.*"   weights and running statistics that training does not change

A model of other stems takes what it can. A stem that is a sum of stems of the other
model (instrumental = drums + bass + other) begins with the sum of their rows in the
last layer, if this layer is the last step before the output: then the first output is
the sum of the other model's outputs. This is tried on noise: the error must be 60 dB
below the mixture. Where masks or norms come after the layer, the sum of rows is another
function, and the rows are new. HTDemucs adds the mean value of the mixture, which is
almost 0 in music, to each stem, and so once to the new one and three times to the sum.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.errors import CheckpointError, InputError
from mssedu.models.contract import config_of, eval_mode, grouping_of
from mssedu.models.sizes import outline
from mssedu.models.stems import resolve
from mssedu.training.config import TrainConfig
from mssedu.weights.ensemble import Bag
from mssedu.weights.loading import load_model

STATES = ("matched", "summed", "reshaped", "missing", "unexpected")
SAME = 1e-3  # largest error of a sum, relative to a mixture without a mean value
Rows = Mapping[str, list[int]]  # name of a tensor with rows for each stem -> its axes


@dataclass(frozen=True)
class Origin:
    """Where one tensor of a model comes from."""

    name: str
    state: str  # matched, summed, reshaped (new), missing (new) or unexpected
    n_values: int  # of the model's tensor; of the other one if it is unexpected


def start_from(
    model: nn.Module, config: TrainConfig, log: Callable[[str], None]
) -> list[Origin]:
    """Copy weights of `config.init` into a new model; nothing if it is None.

    Returns:
        a line for each tensor of either model; `log` gets their summary.

    Raises:
        CheckpointError: less than half of the model agrees, unless init_partly is set.
        InputError: several models as one, or what `mssedu.load_model` finds.
    """
    if config.init is None:
        return []
    other = load_model(config.init, log=log)
    if isinstance(other, Bag):
        raise InputError(
            f"init: {config.init} is several models, and a run begins from one. Choose "
            "a single model, such as htdemucs."
        )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    origins = transfer(model, other)
    share, table = agreement(origins), summary(origins)
    if share < 0.5 and not config.init_partly:
        model.load_state_dict(before)
        raise CheckpointError(
            f"init: {share:.0%} of {type(model).__name__} agree with {config.init} "
            f"({table}). Give the model the same config, or begin with this part: "
            "--init-partly (init_partly=True in Python)."
        )
    log(f"weights of {config.init}: {share:.1%} of the model; {table}")
    return origins


def transfer(model: nn.Module, other: nn.Module) -> list[Origin]:
    """Copy all weights that agree from another model; a line for each tensor."""
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    theirs = other.state_dict()
    groups = _groups(model, other)
    rows, modules = _per_stem(model) if groups else ({}, {})
    new, states, used = dict(own), {}, set()
    for name, tensor in own.items():
        source, state = name, "matched"
        if name in modules:
            prefix, number, rest = modules[name]
            members = groups[number]
            source = f"{prefix}.{members[0]}.{rest}" if len(members) == 1 else ""
        found = theirs.get(source)
        if found is not None and name in rows:
            found = _regrouped(found, rows[name], groups, tensor.shape)
            state = "summed" if any(len(g) > 1 for g in groups) else state
        if source in theirs:
            used.add(source)
        fits = found is not None and found.shape == tensor.shape
        states[name] = state if fits else "reshaped" if source in theirs else "missing"
        new[name] = found if fits and found is not None else tensor
    model.load_state_dict(new)
    if "summed" in states.values():
        _keep_sums(model, other, groups, rows, own, states)
    found_states = [Origin(name, states[name], own[name].numel()) for name in own]
    left = [name for name in theirs if name not in used]
    return found_states + [Origin(n, "unexpected", theirs[n].numel()) for n in left]


def _groups(model: nn.Module, other: nn.Module) -> list[tuple[int, ...]]:
    """For each stem of a model, the numbers of the other's stems that it is made of.

    Empty if the stems are the same, or if they have nothing to do with each other.
    """
    stems, theirs = grouping_of(model), config_of(other).stems
    if type(model) is not type(other) or tuple(stems) == theirs:
        return []
    try:
        rules = resolve("init", stems, theirs)
    except InputError:
        return []
    members = [
        [s for s in theirs if s not in rule.members]
        if rule.from_mixture
        else rule.members
        for rule in rules
    ]
    return [tuple(theirs.index(stem) for stem in group) for group in members]


def _per_stem(
    model: nn.Module,
) -> tuple[dict[str, list[int]], dict[str, tuple[str, int, str]]]:
    """Which tensors have rows for each stem, and which belong to one stem.

    The same model with one and with two stems more shows it, on the meta device.

    Returns:
        name -> axes of the rows; name -> (list, number of the stem, rest of the name).
    """
    config: Any = config_of(model)
    n = len(config.stems)

    def shapes(count: int) -> dict[str, tuple[int, ...]]:
        stems = tuple(f"stem {i}" for i in range(count))
        tensors = outline(type(model), replace(config, stems=stems))
        return {name: tuple(t.shape) for name, t in tensors.items()}

    fewer, more = shapes(n + 1), shapes(n + 2)
    rows = {
        name: [i for i, size in enumerate(shape) if size != more[name][i]]
        for name, shape in fewer.items()
        if name in more and shape != more[name]
    }
    modules = {}
    for name in more.keys() - fewer.keys():
        parts = name.split(".")
        place = parts.index(str(n + 1))
        prefix, rest = ".".join(parts[:place]), ".".join(parts[place + 1 :])
        for number in range(n):
            modules[f"{prefix}.{number}.{rest}"] = (prefix, number, rest)
    return rows, modules


def _regrouped(
    tensor: Tensor,
    axes: Sequence[int],
    groups: Sequence[tuple[int, ...]],
    shape: torch.Size,
) -> Tensor | None:
    """Rows of stems added up by groups; None if they are not rows for each stem.

    The mixer of MDX-Net has rows and columns for the stems, and begins new.
    """
    axis, *others = axes
    if others:
        return None
    size = shape[axis] // len(groups)
    if tensor.ndim != len(shape) or tensor.shape[axis] % size:
        return None
    stems = tensor.split(size, axis)
    if max(max(group) for group in groups) >= len(stems):
        return None
    sums = [torch.stack([stems[i] for i in group]).sum(0) for group in groups]
    return torch.cat(sums, axis)


@torch.no_grad()
def _keep_sums(
    model: nn.Module,
    other: nn.Module,
    groups: Sequence[tuple[int, ...]],
    rows: Rows,
    before: Mapping[str, Tensor],
    states: dict[str, str],
) -> None:
    """Put the rows of a sum back to new ones if the output is not the sum."""
    config = config_of(model)
    length = round(min(config.segment, 0.5) * config.sample_rate) // 2
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(1, config.channels, length, generator=generator)
    noise = torch.cat([noise, -noise], dim=-1)  # its mean value is 0, as that of music
    with eval_mode(model), eval_mode(other):
        estimate, parts = model(noise), other(noise)
    sums = torch.stack([parts[:, list(g)].sum(1) for g in groups], dim=1)
    wrong = [
        stem
        for stem, group in enumerate(groups)
        if len(group) > 1
        and not float((estimate - sums)[:, stem].norm() / noise.norm()) < SAME
    ]
    if not wrong:
        return
    now = model.state_dict()
    for name, (axis, *_) in rows.items():
        if states[name] != "summed":
            continue
        size = now[name].shape[axis] // len(groups)
        for stem in wrong:
            span = (axis, stem * size, size)
            now[name].narrow(*span).copy_(before[name].narrow(*span))
        states[name] = "reshaped"


def agreement(origins: Sequence[Origin]) -> float:
    """The share of a model's values that are not new.

    Example:
        >>> agreement([Origin("a", "matched", 3), Origin("b", "missing", 1)])
        0.75
    """
    own = [o for o in origins if o.state != "unexpected"]
    known = sum(o.n_values for o in own if o.state in ("matched", "summed"))
    return known / max(sum(o.n_values for o in own), 1)


def summary(origins: Sequence[Origin]) -> str:
    """How many tensors are in each state, with the first parts that are not matched.

    Example:
        >>> summary([Origin("a.b", "matched", 3), Origin("c.d", "missing", 1)])
        'matched 1, missing 1 (c)'
    """
    texts = []
    for state in STATES:
        names = [o.name.split(".")[0] for o in origins if o.state == state]
        parts = list(dict.fromkeys(names))
        which = f" ({', '.join(parts[:4])}{', …' if len(parts) > 4 else ''})"
        if names:
            texts.append(f"{state} {len(names)}{which if state != 'matched' else ''}")
    return ", ".join(texts)


# ---- frozen parts -------------------------------------------------------------------


def freeze(model: nn.Module, patterns: Sequence[str]) -> int:
    """Leave weights out of training, by patterns of their names.

    Args:
        patterns: such as "encoder.*"; "encoder" alone means all in it, too.

    Returns:
        how many tensors are frozen.

    Raises:
        InputError: a pattern that matches no weight, or patterns that match all.

    Example:
        >>> freeze(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), ["0.*"])
        2
    """
    named = dict(model.named_parameters())
    trained = {name for name, weight in named.items() if weight.requires_grad}
    for pattern in patterns:
        if not any(_matches(name, [pattern]) for name in named):
            parts = sorted({name.split(".")[0] for name in named})
            raise InputError(
                f"freeze: no weight matches {pattern!r}. The names begin with "
                f"{', '.join(parts)}; write for example {parts[0] + '.*'!r}."
            )
    frozen = [name for name in named if _matches(name, patterns)]
    if frozen and trained <= {*frozen}:
        raise InputError(
            f"freeze: {' '.join(patterns)} matches all {len(trained)} weights, so "
            "there is nothing to train. Leave a part out."
        )
    for name in frozen:
        named[name].requires_grad_(False)
    return len(frozen)


def train_mode(model: nn.Module, patterns: Sequence[str] = ()) -> None:
    """Train mode, in which the running statistics of frozen parts do not change."""
    model.train()
    for name, part in model.named_modules():
        has_statistics = getattr(part, "running_mean", None) is not None
        if has_statistics and _matches(f"{name}.running_mean", patterns):
            part.eval()


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, p) or name.startswith(f"{p}.") for p in patterns)
