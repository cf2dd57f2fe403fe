"""The switch: order, letters, and the names after reveal."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.listening import ABSwitch

SOUNDS = {name: torch.full((1, 80), i / 10) for i, name in enumerate("abcdef")}


def test_open_names_keep_their_order():
    switch = ABSwitch(SOUNDS, 8000)
    assert switch.order == switch._names == list("abcdef")


def test_blind_the_page_gets_letters_only():
    switch = ABSwitch(SOUNDS, 8000, blind=True, seed=3)
    assert switch._names == list("ABCDEF")
    assert sorted(switch.order) == list("abcdef")
    assert switch.order != list("abcdef")
    for place, name in enumerate(switch.order):  # the sounds go along with the names
        step = int.from_bytes(switch._data[str(place)][:2], "little")
        assert step == round(float(SOUNDS[name][0, 0]) * 32767)
    state = switch.get_state()
    del state["_esm"], state["_css"]
    assert not {*"abcdef"} & {*state["_names"]}


def test_the_seed_decides_the_order():
    orders = [ABSwitch(SOUNDS, 8000, blind=True, seed=s).order for s in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_reveal_tells_both_the_page_and_python():
    switch = ABSwitch(SOUNDS, 8000, blind=True, seed=3)
    key = switch.reveal()
    assert [key[letter] for letter in "ABCDEF"] == switch.order == switch._names
    assert not switch.blind


def test_the_page_can_ask_to_reveal():
    switch = ABSwitch(SOUNDS, 8000, blind=True)
    switch._on_message(switch, {"kind": "reveal"}, [])
    assert switch._names == switch.order


@pytest.mark.parametrize("n", [1, 10])
def test_too_few_and_too_many_are_refused(n):
    sounds = {str(i): torch.zeros(1, 80) for i in range(n)}
    with pytest.raises(InputError, match=f"2 … 9 sounds, got {n}"):
        ABSwitch(sounds, 8000)
