"""What all listening widgets share: their sounds, their page, the link to the browser.

    Python                                         browser
    settings  ◀────────── traits, both ways ─────▶ settings
    sounds    ──── binary messages, at once ──────▶ engine.js
              ◀─── "send" and what is missing, as after a reload

Sounds are sent as messages and not as traits: traits are the widget's state, which
notebooks save, so no sound is ever saved. A page that was reloaded asks for the sounds
again. All sounds of up to 30 s go in one message, and each piece of a longer sound in
one of its own. A saved notebook shows a picture instead, see still.py. Notebook: 13.
"""

import os
from collections.abc import Iterable, Mapping
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
    flac_pieces,
    n_pieces,
    piece_length,
    plain_players,
    shape_of,
)
from mssedu.listening.widgets.still import Control, Lane, picture_data, wave

STATIC = Path(__file__).parents[1] / "static"
_ENGINE = ("audio.js", "engine.js", "data.js", "view.js")  # in the order of imports


def static_text(*names: str) -> str:
    """Files of the folder static/, one after the other."""
    return "".join((STATIC / name).read_text("utf-8") for name in names)


def joined(*names: str) -> str:
    """The engine and further scripts as one JavaScript module.

    The files import each other, so that each can be tested alone. One module does not
    need these imports.
    """
    lines = static_text(*_ENGINE, *names).splitlines()
    return "\n".join(line for line in lines if not line.startswith("import "))


class ListeningWidget(anywidget.AnyWidget):
    """Base of the listening widgets.

    A subclass sets `_esm = joined("its_page.js")` and adds traits for its settings.
    """

    _css = STATIC / "style.css"
    _names = traitlets.List(traitlets.Unicode()).tag(sync=True)  # shown for the sounds
    _shape = traitlets.Dict().tag(sync=True)  # sample_rate, channels, samples, piece
    _parts = traitlets.List(traitlets.Unicode()).tag(sync=True)  # all that is sent

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
            sounds, sample_rate: as in `check_sounds`.
            data: name -> bytes, other binary data for the page, such as a picture.
            traits: values of the subclass's own traits.
        """
        self._sounds = check_sounds(sounds, sample_rate)
        first = next(iter(self._sounds.values()))
        shape = shape_of(first, sample_rate)
        if count := n_pieces(first, sample_rate):
            shape["piece"] = piece_length(sample_rate)
        numbers = [str(i) for i in range(len(self._sounds))]
        pieces = [f"{i}.{piece}" for i in numbers for piece in range(count)]
        self._plain = shown_plain()
        traits.setdefault("_names", [*self._sounds])
        parts = [*(data or {}), *(pieces or numbers)]
        super().__init__(_shape=shape, _parts=parts, **traits)
        # Name -> bytes and the value of full scale; sounds have the names 0, 1, …, and
        # their pieces 0.0, 0.1, …
        self._data = {name: (content, 1.0) for name, content in (data or {}).items()}
        self.on_msg(self._on_message)
        if not self._plain:
            self._encode_sounds()
            self._send_data(self._data)

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

    def plain(self) -> PlainPlayers:
        """Simple audio players for a place without widgets; not synchronized."""
        by_name = dict(zip(self._names, self._sounds.values(), strict=True))
        return plain_players(repr(self), by_name, self.sample_rate)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._facts()})"

    def _facts(self) -> str:
        n = len(self._sounds)
        return f"n={n}, sample_rate={self.sample_rate}, seconds={self.seconds:.1f}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, and for pages without Python a picture of it."""
        text = repr(self)
        if self._plain:
            return {"text/plain": text, "text/html": self.plain()._repr_html_()}, {}
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        picture, shown = self._still()
        return {**data, "image/png": picture}, {**metadata, "image/png": shown}

    def _still(self) -> tuple[str, dict[str, Any]]:
        """The picture for a saved notebook in base64, and its alt text and size."""
        return picture_data(repr(self), self._lanes(), self._controls())

    def _lanes(self) -> list[Lane]:
        rows = zip(self._names, self._sounds.values(), strict=True)
        return [Lane(name, wave(sound)) for name, sound in rows]

    def _controls(self) -> list[Control]:
        return [("button", "Play"), ("button", "Loop"), ("slider", "Volume")]

    def _encode_sounds(self) -> None:
        for i, sound in enumerate(self._sounds.values()):
            if "piece" not in self._shape:
                self._data[str(i)] = encode(sound)
                continue
            pieces, scale = flac_pieces(sound, self.sample_rate)
            self._data |= {f"{i}.{k}": (p, scale) for k, p in enumerate(pieces)}

    def _replace(self, sounds: Mapping[str, Tensor], **data: bytes) -> None:
        """Replace short sounds by others of the same shape, and other data."""
        self._sounds.update(sounds)
        places = {label: str(place) for place, label in enumerate(self._sounds)}
        new = {name: (content, 1.0) for name, content in data.items()}
        new |= {places[label]: encode(sound) for label, sound in sounds.items()}
        self._data |= new
        self._send_data(new)

    def _send_data(self, names: Iterable[str]) -> None:
        names = [*names]
        pieces = [[name] for name in names if "." in name]
        whole = [name for name in names if "." not in name]
        for group in filter(None, [whole, *pieces]):
            scales = [self._data[name][1] for name in group]
            content = {"kind": "data", "names": group, "scales": scales}
            self.send(content, [self._data[name][0] for name in group])

    def _on_message(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        if content.get("kind") == "send":
            wanted = content.get("names", self._parts)
            self._send_data([name for name in self._data if name in wanted])


def shown_plain() -> bool:
    """Whether MSSEDU_LISTENING is "plain": simple players instead of widgets."""
    variable = "MSSEDU_LISTENING"
    value = os.environ.get(variable, "widgets")
    return check_name(f"value of {variable}:", value, ("plain", "widgets")) == "plain"
