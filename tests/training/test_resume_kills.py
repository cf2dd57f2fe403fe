"""A run that is killed again and again ends as if it had never been; see the script."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mssedu.training.loop import fit
from mssedu.weights.checkpoint import read_checkpoint
from tests.training.test_gates import CONFIG, model, song

ROOT = Path(__file__).resolve().parents[2]


def test_one_flipped_bit_is_found_by_the_hash_and_the_state_before_is_used(tmp_path):
    config = dataclasses.replace(CONFIG, steps=3, batch_size=2, save_every=1)
    fit(model(), [song()], None, config, tmp_path)
    path = tmp_path / "last.safetensors"
    good, data = read_checkpoint(path), bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    lines = []
    fit(model(), [song()], None, config, tmp_path, resume=True, log=lines.append)
    (line,) = [line for line in lines if line.startswith("resumed after step 2 (the")]
    assert "is damaged: its sha256 is" in line
    again = read_checkpoint(path)
    assert all(torch.equal(t, again.weights[n]) for n, t in good.weights.items())
    assert all(torch.equal(t, again.tensors[n]) for n, t in good.tensors.items())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no fork on Windows")
def test_thirty_kills_at_random_moments_change_no_bit():
    words = [sys.executable, "benchmarks/kills.py", "--kills", "30", "--steps", "12"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 30
    assert found["differ"] == []
