"""Make a data set of mixes from recordings of single instruments.

    recordings ──split──▶ train, valid, test: no recording is in two of them
        │ each is read once: its loudness, where it sounds
        ▼
    seed, number of the mix ──▶ recording, start and gain of each stem
        ▼
    excerpts × gains × one joint gain ──▶ OUT/train/mix_0001/dizi.wav, …, build.json

All recordings are brought to one loudness before the random gain. The joint gain is the
same for all stems of a mix, so that their sum does not clip and is still the mixture.
Mix n depends on the seed, on n and on the recordings only: not on the order of the
files, on the number of workers or on a stop in between. Gains are rounded to 0.01 dB,
so that the last bits of a measured level change nothing. Notebook: 05.
"""

import csv
import io
import itertools
import json
import math
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mssedu.audio.disk import room_for
from mssedu.audio.files import write_json, write_text
from mssedu.audio.names import file_name
from mssedu.audio.tensors import load_audio, resampled_length, save_audio
from mssedu.audio.words import sound_form
from mssedu.audio.writer import file_bytes
from mssedu.data.building.licenses import licenses_of, warn_of_licenses
from mssedu.data.building.recipe import (
    MANIFEST,
    SHARES,
    BuildConfig,
    check_same_plan,
    factor_of,
    plan_of,
    read_manifest,
)
from mssedu.data.building.recordings import (
    COPIES,
    Recording,
    Sound,
    Step,
    inspect_recordings,
    read_recordings,
    relative_name,
    run_all,
    split_recordings,
)
from mssedu.data.folders import entries
from mssedu.data.splits import SPLITS, share_counts
from mssedu.data.track import MIXTURE
from mssedu.errors import InputError

JOURNAL, TABLE = "build.journal", "mixes.csv"  # in the folder of the mixes
READERS = 2  # recordings that are read at once, at most; each takes up to 1 GB
PEAK_DB = -0.1  # of a mix, at most; rounding in the files adds less than 0.1 dB

Log = Callable[[str], None]
Mix = dict[str, Any]  # a row of "mixes" in build.json


def build_dataset(
    folder: str | Path,
    out_dir: str | Path,
    config: BuildConfig | None = None,
    *,
    layout: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    log: Log | None = None,
) -> dict[str, Any]:
    """Make mixes from recordings of single stems, or go on after a stop.

    A MssEduWarning names licenses that are unknown or allow no derivatives.

    Args:
        folder: of the recordings: FOLDER/dizi/*.wav, FOLDER/pipa/*.mp3, …, or another
            layout of recordings of single stems.
        out_dir: a new folder, or the one of a build that was stopped.
        config: all settings; None: the defaults.
        layout: the name of the layout, if it is not recognized; see `find_songs`.
        progress: called with steps done, steps in all, and the name of the last one.
        log: called with a sentence on what is found, converted and written.

    Returns:
        the content of OUT/build.json: settings, recordings with license and hash, and
        all choices. `load_dataset` opens the folder.

    Raises:
        DatasetError: no recordings of single stems, too few for the splits, one of them
            twice, or some that cannot be used; all are listed.
        InputError: a folder with other files, or with mixes of another plan.
        DiskError: the disk is too full.

    Example:
        >>> config = BuildConfig(mixes=40, seconds=5)
        >>> build_dataset("recordings", "mixes", config)  # doctest: +SKIP
    """
    root, out, config = Path(folder), Path(out_dir), config or BuildConfig()
    say = log or (lambda _: None)
    _check_folders(root, out)
    songs, description = split_recordings(root, layout, config)
    say(f"{root}: {description}")
    done, total = itertools.count(1), 2 * len(songs) + config.mixes

    def step(name: str) -> None:
        if progress:
            progress(next(done), total, name)

    recordings = inspect_recordings(root, songs, config, step)
    document = _document(root, out, config, recordings)
    build = _Build(out, config, recordings, document)
    with room_for(out, build.n_bytes(), f"the mixes in {out.name}"):
        build.prepare(root, step, say)
        build.render(step)
        build.finish()
    say(_summary(out, document))
    return document


def _check_folders(root: Path, out: Path) -> None:
    if root.is_dir() and out.resolve().is_relative_to(root.resolve()):
        raise InputError(
            f"{out.absolute()} is inside {root}, where its files would be taken for "
            "recordings. Choose a folder beside it."
        )
    is_free = not out.exists() or (out.is_dir() and not entries(out))
    if not is_free and not (out / MANIFEST).is_file():
        raise InputError(
            f"{out.absolute()} is not an empty folder, and holds no mixes to go on "
            "with. Choose a new folder."
        )


def _document(
    root: Path, out: Path, config: BuildConfig, recordings: Sequence[Recording]
) -> dict[str, Any]:
    """What build.json holds before the first mix, or all of it after a stop."""
    named, stems = config.licenses(), {recording.stem for recording in recordings}
    if unknown := sorted(named.keys() - stems):
        raise InputError(
            f"license names {', '.join(unknown)}, and the stems are "
            f"{', '.join(sorted(stems))}."
        )
    sources: list[dict[str, Any]] = [
        {
            "path": each.name,
            "stem": each.stem,
            "split": each.split,
            "license": None,
            "sha256": each.sha256,
            "size": each.size,
            **asdict(each.info),
            "loudness_lufs": None,
            "copy": None,
        }
        for each in recordings
    ]
    document: dict[str, Any] = {
        "plan": plan_of(config, sources),
        "settings": config.settings(),
        "finished": False,
        "sources": sources,
        "mixes": [],
    }
    path = out / MANIFEST
    before = read_manifest(path) if path.is_file() else document
    if before["mixes"]:  # else nothing was made yet, and the plan may change
        check_same_plan(path, before, document)
        document = before
    folder = root if root.is_dir() else root.parent
    document["folder"] = relative_name(folder.resolve(), out.resolve())
    licenses = licenses_of(root, {r.name: (r.path, r.stem) for r in recordings}, named)
    for row in document["sources"]:
        row["license"] = licenses[row["path"]]
    warn_of_licenses(document["sources"])
    return document


class _Build:
    """A build in its folder: recordings, and the document that becomes build.json."""

    def __init__(
        self,
        out: Path,
        config: BuildConfig,
        recordings: Sequence[Recording],
        document: dict[str, Any],
    ) -> None:
        self.out, self.config, self.document = out, config, document
        self.recordings = {recording.name: recording for recording in recordings}
        self.sources = {row["path"]: row for row in document["sources"]}
        self.n_threads = config.workers or os.cpu_count() or 1
        self.done = self._done()  # mix -> joint gain in dB
        self.todo = [mix for mix in document["mixes"] if mix["name"] not in self.done]
        self._lock = threading.Lock()

    def _done(self) -> dict[str, float]:
        """The mixes that are there, by a finished build.json, else by the journal."""
        mixes = {mix["name"]: mix for mix in self.document["mixes"]}
        if self.document["finished"]:
            found = {name: mix["joint_gain_db"] for name, mix in mixes.items()}
        else:
            journal = self.out / JOURNAL
            text = journal.read_text("utf-8") if journal.is_file() else ""
            # The text behind the last line end is a line that was not written whole.
            found = dict(map(json.loads, text.split("\n")[:-1]))
        return {
            name: gain
            for name, gain in found.items()
            if all(path.is_file() for path in self._paths(mixes[name]).values())
        }

    def _paths(self, mix: Mix) -> dict[str, Path]:
        """The files of a mix, by stem; the mixture is the last one."""
        if self.config.virtual:
            return {}
        folder, suffix = self.out / mix["split"] / mix["name"], self.config.format
        names = [*mix["stems"], *[MIXTURE] * self.config.mixture]
        return {name: folder / f"{file_name(name)}.{suffix}" for name in names}

    def n_bytes(self) -> int:
        """An upper bound of what is still to write."""
        c, recordings = self.config, self.recordings.values()
        suffix, subtype = f".{c.format}", c.subtype
        one = file_bytes(suffix, c.sample_rate, c.channels, c.samples, subtype=subtype)
        n_files = len({recording.stem for recording in recordings}) + c.mixture
        n_mixes = 0 if c.virtual else c.mixes - len(self.done)
        copied = sum(
            resampled_length(each.info.samples, each.info.sample_rate, c.sample_rate)
            for each in recordings
            if not each.fits(c)
        )
        return n_mixes * n_files * one + copied * c.channels * 4

    def prepare(self, root: Path, step: Step, say: Log) -> None:
        """Read the recordings and make all choices, unless that was done before."""
        is_new, c = not self.document["mixes"], self.config
        names = [n for n in self.recordings if is_new or self._lacks_copy(n)]
        for name in self.recordings.keys() - {*names}:
            step(name)
        todo = [self.recordings[name] for name in names]
        if others := [recording for recording in todo if not recording.fits(c)]:
            first, info = others[0].name, others[0].info
            say(
                f"{len(others)} of {len(self.recordings)} recordings are converted to "
                f"{sound_form(c.sample_rate, c.channels)}, such as "
                f"{first} ({info.sample_rate} Hz × {info.channels}, {info.codec})"
            )
        if is_new:  # from here on, the folder is known as one to go on with
            write_json(self.out / MANIFEST, self.document)
        n_threads = min(self.n_threads, READERS)
        sounds = read_recordings(root, todo, self.out, c, n_threads, step)
        if is_new:
            for name, sound in sounds.items():
                self.sources[name] |= {
                    "loudness_lufs": sound.loudness,
                    "copy": sound.copy,
                }
            self.todo = self.document["mixes"] = _choices(c, todo, sounds)
            write_json(self.out / MANIFEST, self.document)

    def _lacks_copy(self, name: str) -> bool:
        copy = self.sources[name]["copy"]
        is_read = copy and (self.todo or self.config.virtual)
        return bool(is_read and not (self.out / copy).is_file())

    def render(self, step: Step) -> None:
        """Write the mixes that are not there yet, several at once."""
        for name in self.done:
            step(name)
        lines = [f"{json.dumps(pair)}\n" for pair in self.done.items()]
        write_text(self.out / JOURNAL, "".join(lines))
        mixes = {mix["name"]: mix for mix in self.todo}
        run_all(self._render, mixes, self.n_threads, step)

    def _render(self, mix: Mix) -> None:
        """Find the joint gain of a mix, and write its files."""
        raw = {stem: self._excerpt(row) for stem, row in mix["stems"].items()}
        joint = self._joint_gain_db(mix, raw)
        paths, c = self._paths(mix), self.config
        for index, (stem, path) in enumerate(paths.items()):
            if stem == MIXTURE:  # the sum of what the files hold, after rounding
                files = [paths[name] for name in raw]
                audio = torch.stack([load_audio(file)[0] for file in files]).sum(0)
            else:
                audio = torch.from_numpy(raw[stem] * self._factor(mix, stem, joint))
            path.parent.mkdir(parents=True, exist_ok=True)
            seed = int(mix["name"].removeprefix("mix_")) * 64 + index
            save_audio(path, audio, c.sample_rate, subtype=c.subtype, dither_seed=seed)
        with self._lock, (self.out / JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(f"{json.dumps([mix['name'], joint])}\n")
            self.done[mix["name"]] = joint

    def _excerpt(self, row: Mapping[str, Any]) -> NDArray[np.float32]:
        copy, rate = self.sources[row["source"]]["copy"], self.config.sample_rate
        audio, _ = load_audio(
            self.out / copy if copy else self.recordings[row["source"]].path,
            start_seconds=row["start"] / rate,
            duration_seconds=self.config.samples / rate,
        )
        samples: NDArray[np.float32] = audio.numpy()
        return samples

    def _factor(self, mix: Mix, stem: str, joint_gain_db: float) -> np.float32:
        """What the samples of the recording are multiplied by."""
        row = mix["stems"][stem]
        leveling = self.config.level_lufs - self.sources[row["source"]]["loudness_lufs"]
        return factor_of(leveling + row["gain_db"] + joint_gain_db)

    def _joint_gain_db(self, mix: Mix, raw: Mapping[str, NDArray[np.float32]]) -> float:
        """The gain that keeps the stems and their sum from clipping, 0 dB at most."""
        sounds = [audio * self._factor(mix, stem, 0.0) for stem, audio in raw.items()]
        sounds.append(np.sum(sounds, 0))
        peak = max(float(abs(audio).max()) for audio in sounds)
        gain_db = PEAK_DB - 20 * math.log10(max(peak, 1e-9))
        return min(math.floor(100 * gain_db) / 100, 0.0)

    def finish(self) -> None:
        """Write the whole build.json and the table, and remove what is not needed."""
        for mix in self.document["mixes"]:
            mix["joint_gain_db"] = joint = self.done[mix["name"]]
            for stem, row in mix["stems"].items():
                row["factor"] = float(self._factor(mix, stem, joint))
        self.document["finished"] = True
        write_text(self.out / TABLE, _table(self.document))
        write_json(self.out / MANIFEST, self.document)
        (self.out / JOURNAL).unlink()
        copies = {self.out / (row["copy"] or "") for row in self.sources.values()}
        for path in entries(self.out / COPIES):
            if not self.config.virtual or path not in copies:
                path.unlink()
        if not entries(self.out / COPIES):
            (self.out / COPIES).rmdir()


# ---- the choices --------------------------------------------------------------------


def _choices(
    config: BuildConfig, recordings: Sequence[Recording], sounds: Mapping[str, Sound]
) -> list[Mix]:
    """Recording, start and gain of each stem of each mix."""
    pools: dict[str, dict[str, list[tuple[str, Sound]]]] = {}
    for each in recordings:
        of_stem = pools.setdefault(each.split, {}).setdefault(each.stem, [])
        of_stem.append((each.name, sounds[each.name]))
    given = zip(SPLITS, config.split or SHARES, strict=True)
    shares = [share if split in pools else 0.0 for split, share in given]
    counts = share_counts(config.mixes, [share / sum(shares) for share in shares])
    of_mixes = [split for split in SPLITS for _ in range(counts[split])]
    digits = max(4, len(str(config.mixes)))
    return [
        {
            "name": f"mix_{number:0{digits}d}",
            "split": split,
            "joint_gain_db": None,
            "stems": _draw(number, pools[split], config),
        }
        for number, split in enumerate(of_mixes, start=1)
    ]


def _draw(
    number: int, pool: Mapping[str, Sequence[tuple[str, Sound]]], config: BuildConfig
) -> dict[str, dict[str, Any]]:
    """The stems of a mix; stems that are left out use random numbers, too."""
    random = np.random.default_rng((config.seed, number))
    left_out = random.random(len(pool)) < config.absent
    left_out[random.integers(len(pool))] &= not left_out.all()
    stems = {}
    for (stem, choices), is_out in zip(pool.items(), left_out, strict=True):
        # A long recording comes more often, so that each second of it comes as often.
        ends = np.cumsum([sound.length for _, sound in choices])
        place = random.integers(ends[-1])
        name, sound = choices[int(np.searchsorted(ends, place, side="right"))]
        start = int(sound.starts[random.integers(len(sound.starts))])
        low, high = config.gain_db
        gain = min(max(round(float(random.uniform(low, high)), 2), low), high)
        if not is_out:
            stems[stem] = {"source": name, "start": start, "gain_db": gain}
    return stems


def _table(document: Mapping[str, Any]) -> str:
    """The choices as CSV: a line for each mix, three columns for each stem."""
    stems = sorted({row["stem"] for row in document["sources"]})
    fields = ("source", "start", "gain_db")
    columns = [f"{stem}_{field}" for stem in stems for field in fields]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["split", "mix", "joint_gain_db", *columns])
    for mix in document["mixes"]:
        rows = [mix["stems"].get(stem, {}) for stem in stems]
        values = [row.get(field, "") for row in rows for field in fields]
        writer.writerow([mix["split"], mix["name"], mix["joint_gain_db"], *values])
    return text.getvalue()


def _summary(out: Path, document: Mapping[str, Any]) -> str:
    counts = Counter(mix["split"] for mix in document["mixes"])
    listed = ", ".join(f"{n} {split}" for split, n in counts.items())
    lower = [mix["joint_gain_db"] for mix in document["mixes"] if mix["joint_gain_db"]]
    by = f" by {-min(lower):.2f} dB at most" if lower else ""
    return (
        f"{out}: {len(document['mixes'])} mixes of {document['settings']['seconds']:g} "
        f"s ({listed}); {len(lower)} of them are quieter as a whole{by}, so that their "
        "sum does not clip"
    )
