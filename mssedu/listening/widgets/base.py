"""What all listening widgets share: their sounds, their page, the link to the browser.

    Python                                         browser
    settings  ◀────────── traits, both ways ─────▶ settings
    sounds    ──── one binary message, at once ───▶ engine.js
              ◀─── "send", after the page was reloaded

Sounds are sent as messages and not as traits: traits are the widget's state, which
notebooks save, so no sound is ever saved. A page that was reloaded asks for the sounds
again. Notebook: 13.
"""

import html
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from torch import Tensor

from mssedu.errors import check_name
from mssedu.listening.widgets.sounds import (
    PlainPlayers,
    check_sounds,
    encode,
    plain_players,
    shape_of,
)

_STATIC = Path(__file__).parents[1] / "static"
_ENGINE = ("audio.js", "engine.js", "view.js")  # in the order of their imports
_SHOWN = "MSSEDU_LISTENING"  # environment variable: "widgets" (the default) or "plain"


def joined(*names: str) -> str:
    """The engine and further files of static/, as one JavaScript module.

    The files import each other, so that each can be read and tested by itself; one
    module does not need these imports, and they are left out.
    """
    lines: list[str] = []
    for name in (*_ENGINE, *names):
        lines += (_STATIC / name).read_text("utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("import "))


class ListeningWidget(anywidget.AnyWidget):
    """Base of the listening widgets; a subclass sets its page and its settings.

    A subclass sets `_esm = joined("its_page.js")`, adds traits for its settings and
    calls the base with its sounds. It may add other binary data, and replace sounds.
    """

    _css = _STATIC / "style.css"
    _names = traitlets.List(traitlets.Unicode()).tag(
        sync=True
    )  # of the sounds on the page
    _shape = traitlets.Dict().tag(sync=True)  # sample_rate, channels, samples

    def __init__(
        self,
        sounds: Mapping[str, Tensor],
        sample_rate: int,
        *,
        data: Mapping[str, bytes] | None = None,
        **traits: Any,
    ) -> None:
        """Check the sounds and send them.

        Args:
            sounds: label -> (channels, samples).
            sample_rate: Hz.
            data: name -> bytes, other binary data for the page, such as a picture.
            traits: values of the subclass's own traits.

        Raises:
            InputError: as `check_sounds`, or an unknown MSSEDU_LISTENING.
        """
        self._sounds = check_sounds(sounds, sample_rate)
        shape = shape_of(next(iter(self._sounds.values())), sample_rate)
        self._plain = shown_plain()
        traits.setdefault("_names", [*self._sounds])
        super().__init__(_shape=shape, **traits)
        self._data = dict(data or {})  # name -> bytes; sounds have the names 0, 1, …
        self._scales = dict.fromkeys(self._data, 1.0)  # name -> value of full scale
        for place, sound in enumerate(self._sounds.values()):
            self._data[str(place)], self._scales[str(place)] = encode(sound)
        self.on_msg(self._on_message)
        if not self._plain:
            self._send_data([*self._data])

    @property
    def sounds(self) -> dict[str, Tensor]:
        """The sounds of the widget: label -> (channels, samples), float32."""
        return dict(self._sounds)

    @property
    def sample_rate(self) -> int:
        """The sample rate of all sounds, Hz."""
        return int(self._shape["sample_rate"])

    @property
    def seconds(self) -> float:
        """The length of each sound, in seconds."""
        return float(self._shape["samples"] / self.sample_rate)

    def facts(self) -> str:
        """The text of `repr` in parentheses; the same on every machine."""
        n = len(self._sounds)
        return f"n={n}, sample_rate={self.sample_rate}, seconds={self.seconds:.1f}"

    def plain(self) -> PlainPlayers:
        """Simple audio players for a place without widgets; not synchronized."""
        by_name = dict(zip(self._names, self._sounds.values(), strict=True))
        return plain_players(repr(self), by_name, self.sample_rate)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.facts()})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, and for pages without Python a line that says what to do."""
        text = html.escape(repr(self))
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        if self._plain:
            players = self.plain()
            return {"text/plain": repr(self), "text/html": players._repr_html_()}, {}
        data["text/html"] = f"<p>{text} <em>(run the cell to listen)</em></p>"
        return data, metadata

    def _replace(self, sounds: Mapping[str, Tensor], **data: bytes) -> None:
        """Replace the sounds of these labels by others of the same shape, and data."""
        self._sounds.update(sounds)
        self._data.update(data)
        for label, sound in sounds.items():
            place = str([*self._sounds].index(label))
            self._data[place], self._scales[place] = encode(sound)
            data[place] = self._data[place]
        self._send_data([*data])

    def _send_data(self, names: list[str]) -> None:
        scales = [self._scales[name] for name in names]
        content = {"kind": "data", "names": names, "scales": scales}
        self.send(content, [self._data[name] for name in names])

    def _on_message(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        if content.get("kind") == "send":
            self._send_data([*self._data])


def shown_plain() -> bool:
    """Whether MSSEDU_LISTENING asks for plain players instead of widgets.

    Raises:
        InputError: its value is neither "widgets" nor "plain".
    """
    value = os.environ.get(_SHOWN, "widgets")
    return check_name(f"value of {_SHOWN}:", value, ("plain", "widgets")) == "plain"
