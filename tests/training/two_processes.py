"""What two processes do together; torchrun starts this file, and it prints JSON.

torchrun --nproc-per-node 2 tests/training/two_processes.py FOLDER
"""

import copy
import dataclasses
import json
import math
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from mssedu.data.segments import Segment
from mssedu.errors import InputError
from mssedu.training import distributed as together
from mssedu.training import loop
from mssedu.training.distributed import process_number as rank
from mssedu.training.losses import LOSSES, waveform_l1
from mssedu.training.objective import create_loss
from mssedu.training.state import TrainState
from mssedu.training.validation import validate
from tests.training.test_gates import CONFIG, STEMS, model, song


def batch_norm():
    """Largest errors of output, gradient and statistics, against one process."""
    torch.manual_seed(0)
    alone = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.Conv1d(3, 1, 1))
    shared = copy.deepcopy(alone)
    x = torch.randn(4, 2, 50) * torch.tensor([1.0, 5.0, 0.1, 2.0]).view(4, 1, 1)
    value = alone(x).square().mean()
    value.backward()
    together.join_batch_norm(shared)
    part = shared(x[rank() :: 2]).square().mean()
    part.backward()
    (mean,) = together.average(shared, part)
    found = {"loss": float((mean - value).abs())}
    pairs = zip(shared.parameters(), alone.parameters(), strict=True)
    found["gradient"] = max(float((a.grad - b.grad).abs().max()) for a, b in pairs)
    pairs = zip(shared.buffers(), alone.buffers(), strict=True)
    found["buffers"] = max(float((a - b).abs().max()) for a, b in pairs)
    outputs = [net.eval()(x) for net in (alone, shared)]
    found["eval"] = float((outputs[0] - outputs[1]).abs().max())
    return found


def collectives():
    """What the small functions return in this process."""
    rows = torch.tensor([[10.0 * n, math.nan] for n in together.own(range(5))])
    failed = None
    try:
        together.raise_together(InputError("broken") if rank() == 1 else None)
    except InputError as error:
        failed = str(error)
    together.raise_together(None)
    together.seed_step(3, 7)
    return {
        "own": [*together.own(range(2, 10))],
        "part": together.part_of(6),
        "largest": together.largest(float(rank())),
        "first": together.of_first(["process", rank()]),
        "all": together.of_all(rank()),
        "gathered": together.gathered(rows, 5)[:, 0].tolist(),
        "failed": failed,
        "drawn": float(torch.rand(())),
    }


def nan_in_one_process():
    """Losses of a step with NaN in the data of process 1, and whether weights moved."""
    config = dataclasses.replace(CONFIG, batch_size=2)
    net = model().train()
    state = TrainState(net, config)
    before = copy.deepcopy(net.state_dict())
    loss = create_loss(config, net.config)
    present = torch.ones(1, 2, dtype=torch.bool)
    values = []
    for bad in (True, False):
        sources = torch.rand(1, 2, 2, 800)
        if bad and rank() == 1:
            sources[0, 0, 0, 3] = math.nan
        values.append(float(loop._train(state, Segment(sources, present), loss)))
        pairs = ((before[n], t) for n, t in net.state_dict().items())
        values.append(all(torch.equal(a, b) for a, b in pairs))
    return values


def signal_to_one_process(folder):
    """The step after which a run ends if process 1 gets SIGTERM in its third step."""
    calls = iter(range(1, 1000))

    def loss(*, estimate, reference):
        if estimate.requires_grad and next(calls) == 3 and rank() == 1:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # a second one changes nothing
        return waveform_l1(estimate=estimate, reference=reference)

    LOSSES["waveform_l1"], loop.rehearse = loss, lambda *_, **__: None
    lines, config = [], dataclasses.replace(CONFIG, steps=50, batch_size=2)
    try:
        loop.fit(model(), [song()], [song(1)], config, folder, log=lines.append)
    except SystemExit as end:
        return {"code": end.code, "log": lines[-1:]}
    return {"code": 0, "log": lines}


def main():
    """Print what each process has found, from the first one."""
    with together.joined(dataclasses.replace(CONFIG, batch_size=2)):
        tracks = [song(n) for n in range(3)]
        torch.manual_seed(0)
        net = model()
        scores = validate(net, tracks, STEMS)
        found = {
            "batch_norm": batch_norm(),
            "collectives": collectives(),
            "nan": nan_in_one_process(),
            "scores": scores.tolist(),
            "alone": [validate_alone(net, track) for track in tracks],
            "signal": signal_to_one_process(Path(sys.argv[1]) / "stopped"),
        }
        everything = together.of_all(found)
        if together.is_first():
            print(json.dumps(everything))
    # A thread of the group that lives on may abort the process when Python ends.
    tasks = Path("/proc/self/task").glob("*/comm")  # Linux has it
    names = [path.read_text() for path in tasks]
    assert not [name for name in names if "gloo" in name], names


def validate_alone(net, track):
    """Scores of one track, by this process."""
    from mssedu.metrics.ratios import usdr
    from mssedu.separation.tensors import separate

    estimate = separate(net, track.mixture())
    return usdr(reference=track.sources(), estimate=estimate).tolist()


if __name__ == "__main__":
    main()
