"""Every relation that a training config checks, and that it needs no torch."""

import subprocess
import sys

import pytest

from mssedu.errors import InputError
from mssedu.training.config import TrainConfig
from mssedu.training.losses import LOSSES

WRONG = {
    "stems": [
        ((), "Name each stem once"),
        (("vocals", "vocals"), "Name each stem once"),
        (("band=bass+drums", "band=bass"), "Name each stem once"),
        (("band=",), "NAME=STEM"),
        ("vocals", "a tuple of stems, got vocals"),
    ],
    "steps": [(0, "steps in")],
    "batch_size": [(0, "batch_size in")],
    "valid_every": [(0, "valid_every in")],
    "seed": [(-1, "seed in")],
    "n_workers": [(-1, "n_workers in")],
    "clip_norm": [(-1.0, "clip_norm in")],
    "save_every": [(-1, "save_every in")],
    "segment": [(0.0, "segment in")],
    "learning_rate": [(0.0, "learning_rate in"), (float("nan"), "learning_rate in")],
    "betas": [((0.9, 1.0), r"betas\[1\] in"), ((-0.1, 0.9), r"betas\[0\] in")],
    "ema_decay": [(1.0, "ema_decay in")],
    "warmup_steps": [(20_001, "warmup_steps in"), (-1, "warmup_steps in")],
    "schedule": [("cosin", "Did you mean 'cosine'")],
    "precision": [("fp16", "precision of")],
    "gain_db": [((6.0, -10.0), "gain_db with"), ((-200.0, 0.0), "gain_db with")],
}
CASES = [(field, *case) for field, cases in WRONG.items() for case in cases]


@pytest.mark.parametrize(("field", "value", "text"), CASES)
def test_wrong_values_are_named(field, value, text):
    with pytest.raises(InputError, match=text):
        TrainConfig(**{field: value})


def test_stems_may_say_what_they_are_made_of():
    stems = ("instrumental=-vocals", "no_bass")
    assert TrainConfig(stems=stems).stems == stems
    assert TrainConfig().stems is None  # those of the preset


def test_the_default_loss_exists():
    assert TrainConfig().loss in LOSSES


def test_needs_no_torch():
    code = "import sys, mssedu.training.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
