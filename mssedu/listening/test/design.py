"""What a listening test consists of: a frozen value, written as a small TOML file.

    test.toml ──load_design──▶ Design ──schedule.plan──▶ pages of one listener
                                  └───stimuli.load_stimuli──▶ sounds of one trial

    mushra   all versions of an excerpt on one page, a slider 0 … 100 for each; the
             reference is shown openly and also hidden among them, and anchors mark the
             lower end of the scale
    acr      one version a page, 1 … 5 for each question; no comparison
    abx      is X the same as A or as B? It measures whether listeners hear a
             difference, not which version is better
    2afc     which of two versions do you prefer?

A *trial* is an excerpt of music; its *conditions* are the systems under test. With the
reference and the anchors they are the *stimuli* that listeners hear. Nothing here needs
torch, so that `mssedu listen --help` starts at once.

Sources: ITU-R BS.1534-3 (MUSHRA), ITU-T P.800 (ACR). Notebook: 13.
"""

import hashlib
import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import InitVar, asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

from mssedu.audio.files import as_json, tupled, write_text
from mssedu.data.options import DataOptions
from mssedu.errors import DatasetError, InputError, check_name, check_range
from mssedu.listening.test.names import (
    LONGEST_NAME,
    alike,
    check_names,
    check_text,
    shown,
)

FILE, RESULTS = "test.toml", "results.sqlite"  # in the folder of a test
TESTS = ("mushra", "acr", "abx", "2afc")
CHOICES = ("abx", "2afc")  # the tests whose answer is one of two
REFERENCE = "reference"
CONSENT = "consent"  # name of the answer to the page of that name
# Anchor -> the files that a trial needs for it; `anchors` says how they are made
ANCHORS = {
    "anchor35": (REFERENCE,),
    "anchor70": (REFERENCE,),
    "mixture": ("mixture",),
    "interference": (REFERENCE, "mixture"),
    "artifacts": (REFERENCE,),
    "sound_quality": (REFERENCE,),
}
# Names that a test gives to its own stimuli: no system may have one of them
TAKEN = (REFERENCE, *ANCHORS)
RANGES = {"mushra": (0.0, 100.0), "acr": (1.0, 5.0)}
WORDS = ("Bad", "Poor", "Fair", "Good", "Excellent")  # of both scales, from the bottom
QUESTIONS = {
    "mushra": {"quality": "How good is it, compared with the reference?"},
    "acr": {
        "quality": "How natural does it sound, how free of artifacts?",
        "contamination": "How free is it of the other sources?",
    },
    "abx": {"choice": "Which one is X?"},
    "2afc": {"choice": "Which one do you prefer?"},
}
MOST_SIGNALS, LONGEST_SECONDS = 12, 12.0  # of a MUSHRA page, by the standard
LARGEST = (
    2**53
)  # whole numbers up to here are exact in JSON, and for every reader of it
MOST_REPEATS = 1000  # replicates or repetitions, far more than a listener can bear
# What a value of test.toml is called in a message
_TYPES = {str: "a text", bool: "true or false", tuple: "a list"}
_TYPES |= dict.fromkeys((int, float), "a number")


@dataclass(frozen=True)
class Excerpts:
    """Which parts of which songs a new test has; its fields are flags of the shell.

    Raises:
        InputError: no stems, or a number out of its range.
    """

    data: Path | None = None  # songs with true stems; no reference if not given
    split: str | None = None  # train, valid or test; all songs if not given
    tracks: int | None = None  # how many songs to use; all if not given
    stems: tuple[str, ...] = ("vocals",)  # names of the stems that listeners judge
    # length of an excerpt in seconds; the test uses the loudest part of each song
    seconds: float = 8.0
    template: str = "{track}/{stem}.wav"  # path of a stem inside a run
    dataset: Annotated[DataOptions, tyro.conf.arg(name="")] = field(
        default_factory=DataOptions
    )

    def __post_init__(self) -> None:
        check_range("seconds", self.seconds, 0, low_open=True, high_open=True)
        if self.tracks is not None:
            check_range("tracks", self.tracks, 1)
        if not self.stems:
            raise InputError("stems is empty. Name at least one stem.")


@dataclass(frozen=True)
class Trial:
    """An excerpt, and the audio files of its versions."""

    name: str
    conditions: Mapping[str, str]  # system -> audio file
    reference: str | None = None  # file of the true stem
    mixture: str | None = None  # file of the song before separation
    start_seconds: float = 0.0
    duration_seconds: float | None = None  # None: to the end of the file

    @property
    def files(self) -> dict[str, str]:
        """The audio files: system, "reference" or "mixture" -> path."""
        others = {REFERENCE: self.reference, "mixture": self.mixture}
        return {**self.conditions, **{k: file for k, file in others.items() if file}}


@dataclass(frozen=True)
class Design:
    """A listening test; every field is a line of its TOML file.

    `begun` says that the test has answers already, so that its names stay as an older
    version has allowed them.

    Raises:
        InputError: a name, number or combination that is not a valid test.

    Example:
        >>> trial = Trial("song", {"a": "a.wav", "b": "b.wav"}, reference="r.wav")
        >>> Design("Which is better?", "mushra", (trial,)).stimuli
        ('a', 'b', 'reference', 'anchor35', 'anchor70')
    """

    title: str
    test: str
    trials: tuple[Trial, ...]
    reference: bool = True  # True: listeners can play it, and it is hidden in the list
    anchors: tuple[str, ...] | None = None  # None: 3.5 and 7 kHz in mushra, else none
    questions: Mapping[str, str] = field(default_factory=dict)  # empty: QUESTIONS[test]
    training: tuple[str, ...] = ()  # trials for practice at the start; not counted
    consent: str = ""  # text that a listener must agree to first; empty: no such page
    # question -> allowed answers; no answers: a line of free text
    questionnaire: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trials_per_listener: int | None = None  # size of a balanced subset; None: all
    n_replicates: int = 1  # pages shown twice, to measure consistency; not in choices
    n_repetitions: int = 1  # of each pair; abx with one listener needs many
    match_loudness: bool = True  # within a trial; the gains are logged
    fade_seconds: float = 0.01  # length of the fades that keep a loop from clicking
    slider_start: float = 0.0  # mushra; a slider counts after the listener moves it
    least_heard_seconds: float = 1.0  # listening time before a sound may be rated
    seed: int = 0
    folder: Path = field(default=Path(), compare=False)  # file paths are relative to it
    begun: InitVar[bool] = False

    def __post_init__(self, begun: bool) -> None:
        check_name("test", self.test, TESTS)
        if self.anchors is None:
            standard = self.test == "mushra" and self.reference
            anchors = ("anchor35", "anchor70") if standard else ()
            object.__setattr__(self, "anchors", anchors)
        if not self.questions:
            object.__setattr__(self, "questions", QUESTIONS[self.test])
        for anchor in self.anchors or ():
            check_name("anchor", anchor, ANCHORS)
        for name in self.training:
            check_name("trial", name, [trial.name for trial in self.trials])
        check_range("n_replicates", self.n_replicates, 0, MOST_REPEATS)
        check_range("n_repetitions", self.n_repetitions, 1, MOST_REPEATS)
        least = self.least_heard_seconds
        check_range("least_heard_seconds", least, 0, math.inf, high_open=True)
        check_range("fade_seconds", self.fade_seconds, 0, 0.1)
        # A slider that starts near the top makes the ratings higher.
        check_range("slider_start", self.slider_start, 0, 50)
        if self.trials_per_listener is not None:
            most = len(self.counted)
            check_range("trials_per_listener", self.trials_per_listener, 1, most)
        self._check_trials()
        if not begun:
            self._check_texts()
        self._check_stimuli()

    @property
    def conditions(self) -> tuple[str, ...]:
        """The systems under test."""
        return tuple(self.trials[0].conditions)

    @property
    def stimuli(self) -> tuple[str, ...]:
        """All versions of a trial: systems, hidden reference, anchors."""
        hidden = (REFERENCE,) if self.reference else ()
        return (*self.conditions, *hidden, *(self.anchors or ()))

    @property
    def counted(self) -> tuple[Trial, ...]:
        """The trials without those for training."""
        return tuple(t for t in self.trials if t.name not in self.training)

    @property
    def rating_range(self) -> tuple[float, float]:
        """Lowest and highest rating; 0 and 1 for a choice."""
        return RANGES.get(self.test, (0.0, 1.0))

    def trial(self, name: str) -> Trial:
        """The trial of that name; raise InputError if there is none."""
        by_name = {trial.name: trial for trial in self.trials}
        return by_name[check_name("trial", name, by_name)]

    def as_json(self) -> dict[str, Any]:
        """All fields except the folder, as JSON returns them: tuples become lists."""
        document = {k: v for k, v in asdict(self).items() if k != "folder"}
        result: dict[str, Any] = as_json(document)
        return result

    def sha256(self) -> str:
        """Hash of all fields except the folder."""
        text = json.dumps(self.as_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _check_trials(self) -> None:
        names = [trial.name for trial in self.trials]
        if not self.counted:
            raise InputError(
                f"the trials {names} leave nothing to rate: training does not count."
            )
        if len(set(names)) < len(names):
            raise InputError(f"the names of the trials are not unique: {names}.")
        needed = {part for anchor in self.anchors or () for part in ANCHORS[anchor]}
        needed |= {REFERENCE} if self.reference else set()
        for trial in self.trials:
            systems = list(trial.conditions)
            if not systems:
                raise InputError(f"trial {trial.name!r} has no conditions.")
            if systems != list(self.conditions):
                raise InputError(
                    f"trial {trial.name!r} has the conditions {systems}, and the first "
                    f"trial has {list(self.conditions)}. Give every trial the same "
                    "systems in the same order."
                )
            missing = sorted(part for part in needed if not getattr(trial, part))
            if missing:
                less = "set reference = false and " if self.reference else ""
                raise InputError(
                    f"trial {trial.name!r} has no file of its {' and '.join(missing)}. "
                    "Add it, which mssedu listen create does with --data SONGS, or "
                    f"{less}leave out the anchors."
                )
            check_range("start_seconds", trial.start_seconds, 0, 1e6, where=trial.name)
            if (length := trial.duration_seconds) is not None:
                ends = (0, 1e6)
                check_range(
                    "duration_seconds", length, *ends, low_open=True, where=trial.name
                )

    def _check_stimuli(self) -> None:
        systems = list(self.conditions)
        # 2afc plays the reference, but asks nothing about it.
        n = len(systems) + (self.reference and self.test != "2afc")
        if n < 2 and self.test != "acr":
            raise InputError(
                f"{self.test} compares at least two versions, got {systems}. Add "
                "another system, or in mushra and abx a reference."
            )
        if self.test == "mushra" and len(self.stimuli) > MOST_SIGNALS:
            raise InputError(
                f"a page would have {len(self.stimuli)} sounds, and ITU-R BS.1534 "
                f"allows at most {MOST_SIGNALS}. Compare fewer systems at once."
            )
        if self.test in CHOICES and self.anchors:
            got = list(self.anchors)
            raise InputError(f"{self.test} compares pairs without anchors, got {got}.")

    def _check_texts(self) -> None:
        """Check all names and texts; a test with answers may have older ones."""
        check_names("question", self.questions)
        check_names("question", self.questionnaire)
        check_names("trial", [trial.name for trial in self.trials])
        check_systems(self.conditions, "Rename these systems.")
        if CONSENT in self.questionnaire:
            raise InputError(
                f"the questionnaire asks {CONSENT!r}, which is the name of the consent "
                "page. Choose another name."
            )
        texts = {"the title": self.title, "the consent": self.consent}
        for name, text in self.questions.items():
            texts[f"the text of the question {shown(name)}"] = text
        for name, choices in self.questionnaire.items():
            check_names(f"answer to {shown(name)}:", choices, unique=False)
        for trial in self.trials:
            for file in trial.files.values():
                texts[f"the file {shown(file)} of {shown(trial.name)}"] = file
        for what, text in texts.items():
            check_text(what, text)


def check_systems(names: Iterable[str], remedy: str) -> None:
    """Raise InputError for names of systems that the results would mix up.

    As `check_names`; also, no name may be one of `TAKEN`. `remedy` is a sentence that
    says how to rename them.
    """
    names = list(names)
    check_names("system", names, unique=False)
    clash = [name for name in names if alike(name) in TAKEN]
    if clash:
        raise InputError(
            f"the test itself uses the names {', '.join(TAKEN)}; systems must have "
            f"others, got {clash}. {remedy}"
        )
    counts = Counter(map(alike, names))
    same = [name for name in names if counts[alike(name)] > 1]
    if same:
        raise InputError(
            "names of systems must differ by more than spaces, Unicode form and upper "
            f"and lower case, got {same}. {remedy}"
        )


def load_design(path: str | Path) -> Design:
    """Read a test from its TOML file, or from the test.toml of a folder.

    Beside results.sqlite, the names may be those that an older version has allowed.

    Raises:
        DatasetError: the file is missing, or is not TOML.
        InputError: unknown or missing fields, or as `Design`.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    where = str(file.absolute())
    if not file.is_file():
        raise DatasetError(
            f"{where} does not exist. Make a test with: mssedu listen create."
        )
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:  # also of UTF-8, and of huge numbers
        raise DatasetError(f"{where} is not TOML: {error}.") from error
    begun = file.with_name(RESULTS).exists()
    return design_from(document, where, file.parent, begun=begun)


def design_from(
    document: Mapping[str, Any], where: str, folder: Path, *, begun: bool = False
) -> Design:
    """A design of plain values, as TOML and JSON contain them.

    `where` is the file of the values, for messages; paths are relative to the folder;
    `begun` is as in `Design`.
    """
    try:
        _check_fields(where, Design, document)
        if not begun:
            _check_types(where, Design, document)
        values = tupled(dict(document)) | {"folder": folder}
        for trial in values["trials"]:
            _check_fields(f"{where}, trials", Trial, trial)
            if not begun:
                _check_types(f"{where}, trials", Trial, trial)
        values["trials"] = tuple(Trial(**trial) for trial in values["trials"])
        asked = values.get("questionnaire", {})
        values["questionnaire"] = {k: tuple(choices) for k, choices in asked.items()}
        return Design(**values, begun=begun)
    except InputError as error:
        if where in str(error):
            raise
        raise InputError(f"{where}: {error}") from error
    except (TypeError, AttributeError) as error:  # such as a text instead of a number
        raise InputError(
            f"{where} has a value of the wrong type: {shown(str(error))}. Compare it "
            "with a test.toml that mssedu listen create writes."
        ) from error


def save_design(path: str | Path, design: Design) -> Path:
    """Write a test as TOML with every setting, so that users can see and change all."""
    plain = design.as_json()
    trials = plain.pop("trials")
    tables = {k: v for k, v in plain.items() if isinstance(v, Mapping)}
    lines = _lines({k: v for k, v in plain.items() if k not in tables})
    for name, table in tables.items():
        lines += ["", f"[{name}]", *_lines(table)]
    for trial in trials:
        conditions = trial.pop("conditions")
        lines += ["", "[[trials]]", *_lines(trial)]
        lines += ["[trials.conditions]", *_lines(conditions)]
    write_text(path, "\n".join([*lines, ""]))
    return Path(path)


def _lines(values: Mapping[str, Any]) -> list[str]:
    """Lines of TOML; strings, numbers and lists look the same as in JSON."""
    plain = {key: value for key, value in values.items() if value is not None}
    text = json.JSONEncoder(ensure_ascii=False).encode
    keys = [k if re.fullmatch(r"[\w-]+", k, re.ASCII) else text(k) for k in plain]
    return [f"{k} = {text(v)}" for k, v in zip(keys, plain.values(), strict=True)]


def _check_fields(
    where: str, kind: type[Design | Trial], document: Mapping[str, Any]
) -> None:
    """Check that the keys of a document are the fields of a dataclass."""
    known = [f for f in fields(kind) if f.name != "folder"]
    for name in document:
        check_name("field", name[:LONGEST_NAME], [f.name for f in known], where=where)
    # Both defaults are MISSING in a field that must be given.
    needed = [f.name for f in known if f.default is f.default_factory]
    missing = [name for name in needed if name not in document]
    if missing:
        raise InputError(f"{where} needs the fields {missing}. Add these lines.")


def _check_types(
    where: str, kind: type[Design | Trial], document: Mapping[str, Any]
) -> None:
    """Check that the values of a document have the types of a dataclass's fields."""
    types = get_type_hints(kind)
    for name, value in document.items():
        if not _fits(value, types[name]):
            parts = get_args(types[name])
            union = get_origin(types[name]) is UnionType
            plain = parts[0] if union else types[name]
            words = _TYPES.get(get_origin(plain) or plain, "a table")
            raise InputError(
                f"{where}: {name} must be {words}, got {shown(value)}, a value of the "
                "wrong type. Compare it with a file that mssedu listen create writes."
            )


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value of TOML or JSON is of the type of a field, with all its parts."""
    parts, origin = get_args(kind), get_origin(kind)
    if origin is UnionType:
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        listed = isinstance(value, list | tuple)
        return listed and all(_fits(item, parts[0]) for item in value)
    if origin is Mapping:
        table = isinstance(value, Mapping)
        return table and all(_fits(item, parts[1]) for item in value.values())
    if kind is Trial:
        return isinstance(value, Mapping)
    if kind in (int, float) and isinstance(value, int):
        return abs(value) < LARGEST and not isinstance(value, bool)
    return isinstance(value, kind)
