"""Several versions of one sound, switched while they play.

    sounds ──order by seed, if blind──▶ engine.js: all run, one is audible
                                    ▲ keys 1 … 9

All sounds run in sync from the first sample on, so a switch changes the version and not
the position. In blind mode the page has letters only, and gets the names when they are
revealed. Notebooks: 01, 13.
"""

import random
from collections.abc import Mapping
from typing import Any

import traitlets
from torch import Tensor

from mssedu.errors import InputError
from mssedu.listening.widgets.base import ListeningWidget, joined

MOST = 9  # sounds, one for each of the keys 1 … 9


class ABSwitch(ListeningWidget):
    """Switch between sounds with the keys 1 … 9; space starts and pauses.

    Attributes:
        order: labels in the order of the keys 1, 2, …
        blind: whether the names are still hidden.
    """

    _esm = joined("timeline.js", "switch.js")
    blind = traitlets.Bool(False).tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)  # index in `order` of the audible sound

    def __init__(
        self,
        sounds: Mapping[str, Tensor],
        sample_rate: int,
        blind: bool = False,
        *,
        seed: int = 0,
    ) -> None:
        """Show versions of one sound.

        Args:
            sounds: label -> (channels, samples), 2 … 9 of one shape. Unless you compare
                levels, use `mssedu.listening.widgets.match_loudness` first.
            sample_rate: Hz, 8000 … 96000.
            blind: hide the names and shuffle the order until `reveal`.
            seed: of the order; choose another one for each listener.

        Raises:
            InputError: fewer than 2 or more than 9 sounds, or as `Player`.

        Example:
            >>> ABSwitch({"a": torch.rand(1, 80), "b": torch.rand(1, 80)}, 8000)
            ABSwitch(n=2, sample_rate=8000, seconds=0.0)
        """
        if not 2 <= len(sounds) <= MOST:
            raise InputError(
                f"ABSwitch compares 2 … {MOST} sounds, got {len(sounds)}. Compare more "
                "sounds in several rounds."
            )
        self.order = list(sounds)
        if blind:
            random.Random(seed).shuffle(self.order)
        letters = [chr(ord("A") + i) for i in range(len(self.order))]
        super().__init__(
            {label: sounds[label] for label in self.order},
            sample_rate,
            blind=blind,
            _names=letters if blind else self.order,
        )

    def reveal(self) -> dict[str, str]:
        """Show the names; returns letter -> label.

        Example:
            >>> sounds = {"mp3": torch.rand(1, 80), "flac": torch.rand(1, 80)}
            >>> ABSwitch(sounds, 8000, blind=True, seed=1).reveal()
            {'A': 'flac', 'B': 'mp3'}
        """
        self._names = self.order
        self.blind = False
        return {chr(ord("A") + i): label for i, label in enumerate(self.order)}

    def _on_message(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        super()._on_message(_, content, buffers)
        if content.get("kind") == "reveal":
            self.reveal()
