"""What a listening test consists of: a frozen value, written as a small TOML file.

    test.toml ──load_design──▶ Design ──schedule.plan──▶ pages of one listener
                                  └───stimuli.load_stimuli──▶ sounds of one trial

    mushra   all versions of an excerpt on one page, a slider 0 … 100 for each; the
             reference is open and hidden among them, anchors mark the lower end
    acr      one version a page, 1 … 5 for each question; no comparison
    abx      is X the same as A or as B? Right or wrong: tells whether a difference is
             heard, not which version is better
    2afc     which of two versions do you prefer?

A *trial* is an excerpt of music; its *conditions* are the systems under test. With the
reference and the anchors they are the *stimuli* that listeners hear.

Sources: ITU-R BS.1534-3 (MUSHRA), ITU-T P.800 (ACR). Notebook: 13.
"""

import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mssedu.errors import DatasetError, InputError, check_name, check_range, message

TESTS = ("mushra", "acr", "abx", "2afc")
CHOICES = ("abx", "2afc")  # the tests whose answer is one of two
REFERENCE = "reference"
# Anchor -> what a trial must have for it; how they are made: see `anchors`
ANCHORS = {
    "anchor35": (REFERENCE,),
    "anchor70": (REFERENCE,),
    "mixture": ("mixture",),
    "interference": (REFERENCE, "mixture"),
    "artifacts": (REFERENCE,),
    "sound_quality": (REFERENCE,),
}
# Names of what a test adds itself: no system may have one of them
TAKEN = (REFERENCE, *ANCHORS)
RANGES = {"mushra": (0.0, 100.0), "acr": (1.0, 5.0)}
WORDS = ("Bad", "Poor", "Fair", "Good", "Excellent")  # of both scales, upwards
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


@dataclass(frozen=True)
class Trial:
    """An excerpt, and the files in which its versions lie."""

    name: str
    conditions: Mapping[str, str]  # system -> audio file
    reference: str | None = None  # file of the true stem
    mixture: str | None = None  # file of the song before separation
    start_seconds: float = 0.0
    duration_seconds: float | None = None  # to the end if None


@dataclass(frozen=True)
class Design:
    """A listening test; every field is a line of its TOML file.

    Raises:
        InputError: a name, number or combination that makes no test.

    Example:
        >>> trial = Trial("song", {"a": "a.wav", "b": "b.wav"}, reference="r.wav")
        >>> Design("Which is better?", "mushra", (trial,)).stimuli
        ('a', 'b', 'reference', 'anchor35', 'anchor70')
    """

    title: str
    test: str
    trials: tuple[Trial, ...]
    reference: bool = True  # True: it is played, and hidden among the stimuli
    anchors: tuple[str, ...] | None = None  # None: 3.5 and 7 kHz in mushra, else none
    questions: Mapping[str, str] = field(default_factory=dict)  # those of the test
    training: tuple[str, ...] = ()  # trials to begin with, which do not count
    consent: str = ""  # text to agree to before all else; no such page if empty
    questionnaire: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trials_per_listener: int | None = None  # a balanced subset for each; all if None
    n_replicates: int = 1  # pages shown again to see how steady a rater is; no choices
    n_repetitions: int = 1  # of each pair: one listener needs many of them in abx
    match_loudness: bool = True  # within a trial; the gains are logged
    fade_seconds: float = 0.01  # at both ends, so that a loop does not click
    slider_start: float = 0.0  # mushra; a slider counts once it was moved
    least_heard_seconds: float = 1.0  # before a sound may be rated
    seed: int = 0
    folder: Path = field(default=Path(), compare=False)  # to which files are relative

    def __post_init__(self) -> None:
        where = f"Design {self.title!r}"
        check_name("test", self.test, TESTS, where=where)
        if self.anchors is None:
            standard = self.test == "mushra" and self.reference
            anchors = ("anchor35", "anchor70") if standard else ()
            object.__setattr__(self, "anchors", anchors)
        if not self.questions:
            object.__setattr__(self, "questions", QUESTIONS[self.test])
        for anchor in self.anchors or ():
            check_name("anchor", anchor, ANCHORS, where=where)
        for name in self.training:
            check_name(
                "trial", name, [trial.name for trial in self.trials], where=where
            )
        for name, low in (("n_replicates", 0), ("n_repetitions", 1)):
            check_range(name, getattr(self, name), low, where=where)
        check_range("least_heard_seconds", self.least_heard_seconds, 0, where=where)
        check_range("fade_seconds", self.fade_seconds, 0, 0.1, where=where)
        # A slider that waits at the top asks for praise.
        check_range("slider_start", self.slider_start, 0, 50, where=where)
        if self.trials_per_listener is not None:
            most = len(self.counted)
            check_range(
                "trials_per_listener", self.trials_per_listener, 1, most, where=where
            )
        self._check_trials(where)
        self._check_stimuli(where)

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
        """The trial of that name.

        Raises:
            InputError: there is none.
        """
        found = {trial.name: trial for trial in self.trials}
        return found[check_name("trial", name, found, where=f"Design {self.title!r}")]

    def as_json(self) -> dict[str, Any]:
        """All fields but the folder, as JSON gives them back."""
        document = {k: v for k, v in asdict(self).items() if k != "folder"}
        result: dict[str, Any] = json.loads(json.dumps(document))
        return result

    def sha256(self) -> str:
        """Hash of all fields but the folder."""
        text = json.dumps(self.as_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _check_trials(self, where: str) -> None:
        names = [trial.name for trial in self.trials]
        if not self.counted or len(set(names)) < len(names):
            remedy = "Name each trial once; training ones do not count."
            raise InputError(message(where, "trials, each once", names, remedy))
        for trial in self.trials:
            if tuple(trial.conditions) != self.conditions or not self.conditions:
                wanted = f"the conditions {list(self.conditions) or 'at least one'}"
                got = f"{list(trial.conditions)} in trial {trial.name!r}"
                remedy = "Give every trial the same systems in the same order."
                raise InputError(message(where, wanted, got, remedy))
            needs = {p for anchor in self.anchors or () for p in ANCHORS[anchor]}
            needs |= {REFERENCE} if self.reference else set()
            missing = sorted(part for part in needs if not getattr(trial, part))
            if missing:
                wanted = f"a file of its {' and '.join(missing)}"
                got = f"none in trial {trial.name!r}"
                remedy = "Add it, or set reference = false and leave out the anchors."
                raise InputError(message(where, wanted, got, remedy))

    def _check_stimuli(self, where: str) -> None:
        check_systems(where, self.conditions, "Rename these systems.")
        least = 2 if self.test != "acr" else 1
        hidden = self.test != "2afc" and self.reference
        if len(self.conditions) + hidden < least:
            remedy = "Add another system, or a reference."
            got = list(self.conditions)
            raise InputError(message(where, "at least two to compare", got, remedy))
        if self.test == "mushra" and len(self.stimuli) > MOST_SIGNALS:
            wanted = f"at most {MOST_SIGNALS} signals a page, as ITU-R BS.1534 asks"
            remedy = "Compare fewer systems at once."
            raise InputError(message(where, wanted, len(self.stimuli), remedy))
        if self.test in CHOICES and self.anchors:
            remedy = "Leave them out: only pairs of versions are compared."
            wanted = f"no anchors in {self.test}"
            raise InputError(message(where, wanted, list(self.anchors), remedy))


def check_systems(where: str, names: Iterable[str], remedy: str) -> None:
    """Raise InputError for names of systems that the results would mix up.

    A name must be none that a test adds itself, and differ from the other names by more
    than upper and lower case.

    Args:
        where: what the names were given to, for the message.
        names: of all systems of a test.
        remedy: how to name them otherwise.

    Example:
        >>> check_systems("Design", ["ours", "theirs"], "Rename these systems.")
    """
    names = list(names)
    clash = [name for name in names if name.casefold() in TAKEN]
    if clash:
        wanted = f"systems with other names than the test's own ({', '.join(TAKEN)})"
        raise InputError(message(where, wanted, clash, remedy))
    counts = Counter(name.casefold() for name in names)
    alike = [name for name in names if counts[name.casefold()] > 1]
    if alike:
        wanted = "systems of different names, upper and lower case aside"
        raise InputError(message(where, wanted, alike, remedy))


def load_design(path: str | Path) -> Design:
    """Read a test from its TOML file, or from the test.toml of a folder.

    Raises:
        DatasetError: no such file, or no TOML.
        InputError: unknown or missing fields, or as `Design`.
    """
    path = Path(path)
    file = path / "test.toml" if path.is_dir() else path
    where = str(file.absolute())
    remedy = "Make one with: mssedu listen create."
    if not file.is_file():
        raise DatasetError(message(where, "a listening test", "no such file", remedy))
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise DatasetError(message(where, "TOML", error, "Mend this line.")) from error
    return design_from(document, where, file.parent)


def design_from(
    document: Mapping[str, Any], where: str = "Design", folder: Path = Path()
) -> Design:
    """A design of plain values, as TOML and JSON hold them.

    Raises:
        InputError: unknown or missing fields, or as `Design`.
    """
    values = _known(where, Design, document) | {"folder": folder}
    try:
        trials = [_known(f"{where}, trials", Trial, t) for t in values["trials"]]
        values["trials"] = tuple(Trial(**trial) for trial in trials)
        for name in ("anchors", "training"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        asked = values.get("questionnaire", {})
        values["questionnaire"] = {k: tuple(choices) for k, choices in asked.items()}
        return Design(**values)
    except (TypeError, AttributeError) as error:  # a text in the place of a number …
        remedy = "Compare with what mssedu listen create writes."
        wanted = "values of the right kind"
        raise InputError(message(where, wanted, error, remedy)) from error


def save_design(path: str | Path, design: Design) -> Path:
    """Write a test as TOML, with every setting, so that all can be seen and changed."""
    path, plain = Path(path), design.as_json()
    lines, tables = [], []
    trials = plain.pop("trials")
    for name, value in plain.items():
        if isinstance(value, Mapping):
            tables += ["", f"[{name}]", *_lines(value)]
        else:
            lines += _lines({name: value})
    for trial in trials:
        conditions = trial.pop("conditions")
        tables += ["", "[[trials]]", *_lines(trial)]
        tables += ["[trials.conditions]", *_lines(conditions)]
    path.write_text("\n".join([*lines, *tables, ""]), "utf-8")
    return path


def _lines(values: Mapping[str, Any]) -> list[str]:
    """Lines of TOML; its strings, numbers and lists are written as JSON's."""
    plain = {key: value for key, value in values.items() if value is not None}
    text = json.JSONEncoder(ensure_ascii=False).encode
    keys = [k if re.fullmatch(r"[\w-]+", k, re.ASCII) else text(k) for k in plain]
    return [f"{k} = {text(v)}" for k, v in zip(keys, plain.values(), strict=True)]


def _known(where: str, kind: type, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document, once its keys are the fields of a dataclass."""
    names = {f.name: f for f in fields(kind) if f.name != "folder"}
    for name in document:
        check_name("field", name, names, where=where)
    needed = ["name", "conditions"] if kind is Trial else ["title", "test", "trials"]
    missing = [name for name in needed if name not in document]
    if missing:
        remedy = "Add these lines."
        raise InputError(message(where, f"the fields {needed}", missing, remedy))
    return dict(document)
