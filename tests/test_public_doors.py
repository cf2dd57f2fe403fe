"""What is no tensor is named at every public door that takes audio."""

import numpy as np
import pytest

import mssedu as ms
from mssedu.errors import InputError

AUDIO = np.zeros((2, 100), dtype="float32")
DOORS = {
    "separate": lambda: ms.separate(ms.create_model("spleeter", "tiny"), AUDIO),
    "save_audio": lambda: ms.audio.save_audio("never.wav", AUDIO, 44100),
    "usdr": lambda: ms.metrics.usdr(reference=AUDIO, estimate=AUDIO),
    "si_sdr": lambda: ms.metrics.si_sdr(reference=AUDIO, estimate=AUDIO),
    "Player": lambda: ms.listening.Player(AUDIO, 44100),
    "ABSwitch": lambda: ms.listening.ABSwitch({"a": AUDIO, "b": AUDIO}, 44100),
    "from_audio": lambda: ms.data.Track.from_audio("song", {"voice": AUDIO}, 44100),
}


@pytest.mark.parametrize("door", DOORS)
def test_an_array_is_refused_with_a_remedy(door):
    with pytest.raises(InputError, match=r"must be a torch\.Tensor, got ndarray"):
        DOORS[door]()
