"""Meters: what they measure does not depend on how a song is cut into blocks."""

import json

import pytest
import torch

from mssedu.separation.record import LevelMeter, SeamMeter, peak_memory_mb


def cut(audio, sizes=(1, 700, 3, 50)):
    start, number = 0, 0
    while start < audio.shape[-1]:
        size = sizes[number % len(sizes)]
        yield audio[..., start : start + size]
        start, number = start + size, number + 1


def test_levels():
    mixture = torch.randn(2, 5000)
    estimate = torch.stack([0.7 * mixture, 0.2 * mixture])
    meter, position = LevelMeter(), 0
    for block in cut(estimate):
        end = position + block.shape[-1]
        meter.add(block, mixture[:, position:end])
        position = end
    assert meter.peak == estimate.abs().max()
    assert meter.n_over == int((estimate.abs() > 1).sum())
    assert meter.residual_db == pytest.approx(-20, abs=0.01)  # a tenth is missing
    silent = LevelMeter()
    silent.add(torch.zeros(2, 2, 5), torch.zeros(2, 5))
    assert silent.residual_db is None


def seam_db(audio, seams):
    meters = [SeamMeter(list(seams)), SeamMeter(list(seams))]
    for block in cut(audio):
        meters[0].add(block)
    meters[1].add(audio)
    assert meters[0].db == meters[1].db
    return meters[0].db


def test_a_click_at_a_seam_is_heard():
    time = torch.arange(20000) / 44100
    tone = 0.5 * torch.sin(2 * torch.pi * 440 * time).repeat(2, 2, 1)
    assert abs(seam_db(tone, [5000, 10000])) < 3
    clicking = tone.clone()
    clicking[..., 5000:10000] += 0.1  # an offset that begins and ends at the seams
    assert seam_db(clicking, [5000, 10000]) > 30
    assert abs(seam_db(clicking, [6000, 11000])) < 3  # elsewhere it is no seam


def test_noise_is_as_rough_at_seams_as_elsewhere():
    torch.manual_seed(0)
    seams = range(1000, 99000, 1000)
    assert abs(seam_db(torch.randn(2, 2, 100_000), seams)) < 1


def test_seams_without_enough_around_them_say_nothing():
    assert seam_db(torch.randn(1, 1, 300), [100, 200]) is None
    assert seam_db(torch.zeros(1, 1, 3000), [1500]) is None


def test_memory_of_the_process():
    assert peak_memory_mb(torch.device("cpu")) > 50  # torch alone takes more
    assert json.dumps(peak_memory_mb(torch.device("cpu")))
