"""The command `mssedu listen`: create a listening test, run it, and report the results.

mssedu listen create RUN_A RUN_B --data SONGS    excerpts and test.toml in runs/listen
mssedu listen create ours=runs/7 theirs=runs/8   the same, with names of your choice
mssedu listen serve runs/listen                  a link for listeners, without any code
mssedu listen export runs/listen --html          the test as one file, without Python
mssedu listen report runs/listen                 report.html, LaTeX tables, figure
mssedu listen export runs/listen                 CSV in webMUSHRA's columns, and JSON
"""

import asyncio
import contextlib
import os
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mssedu.audio.files import write_text
from mssedu.audio.words import counted
from mssedu.cli.console import report_failure, say
from mssedu.errors import InputError, MssEduError, check_range
from mssedu.listening.test.design import CHOICES, Excerpts, check_systems, load_design
from mssedu.listening.test.names import shown

FOLDER = Path("runs/listen")
MARK = ".mssedu-listen"  # lists the files of a folder that report and export wrote
Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="[FOLDER]")]
Runs = Annotated[
    tuple[str, ...],
    tyro.conf.Positional,
    tyro.conf.arg(
        metavar="[NAME=]FOLDER",
        help="folders of stems, one for each system. The results use NAME, or the name "
        "of the folder; listeners never see this name",
        help_behavior_hint="",
    ),
]
Merged = Annotated[tuple[Path, ...], tyro.conf.arg(help_behavior_hint="")]
OutDir = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]


@dataclass(frozen=True)
class Settings:
    """The most used settings of a test; test.toml has all settings."""

    # kind of test: mushra compares all versions on one page with sliders of 0 to 100,
    # acr rates one version per page from 1 to 5, abx asks which of two versions X is,
    # and 2afc asks which of two versions a listener prefers
    test: Literal["mushra", "acr", "abx", "2afc"] = "mushra"
    title: str = ""  # title that listeners read above the page
    # degraded versions that mark the low end of the scale, such as anchor35 and
    # anchor70, low-passed at 3.5 and 7 kHz (None: these two in mushra with --data)
    anchors: tuple[str, ...] | None = None
    # number of trials for each listener, a balanced random subset (None: all trials)
    trials_per_listener: int | None = None
    # number of pages of mushra and acr that are shown twice, to measure consistency
    n_replicates: int = 1
    n_repetitions: int = 1  # number of times that each pair is shown in abx and 2afc
    match_loudness: bool = True  # bring all versions of an excerpt to the same loudness
    seed: int = 0  # seed of the random order of pages and versions


def create(
    runs: Runs,
    excerpts: Annotated[Excerpts, tyro.conf.arg(name="")],
    settings: Annotated[Settings, tyro.conf.arg(name="")],
    out_dir: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = FOLDER,
) -> int:
    """Cut excerpts from the stems of several systems and write test.toml.

    Args:
        runs: folders of stems, each as FOLDER or NAME=FOLDER
        excerpts: Options for the songs and stems.
        settings: Options for the test.
        out_dir: folder of the test
    """
    from mssedu.listening.results.choices import answers_note
    from mssedu.listening.results.ratings import power_note
    from mssedu.listening.test.create import create_test
    from mssedu.listening.test.schedule import chosen_trials, plan

    named = [named_run(run) for run in runs]
    remedy = "Name a system with NAME=FOLDER, such as ours=runs/7."
    check_systems([name for name, _ in named], remedy)
    design = create_test(out_dir, dict(named), excerpts, **asdict(settings))
    trials = counted(len(design.trials), "trial")
    pages = counted(len(plan(design, 0)), "page")
    say(f"{trials} of {', '.join(design.stimuli)}; {pages} for each listener")
    if design.test in CHOICES:
        n_answers = len(chosen_trials(design, 0)) * design.n_repetitions
        say(answers_note(n_answers, design.test))
    elif len(named) > 1:
        say(power_note(5, len(named)))
    say(f"You can edit it until the first listener begins: {out_dir / 'test.toml'}")
    return 0


def named_run(text: str) -> tuple[str, Path]:
    """Name and folder of a run that is written as FOLDER or as NAME=FOLDER.

    A text that is the path of a folder has no name in it, even if it contains "=".
    """
    name, equals, folder = text.partition("=")
    path = Path(text).expanduser()
    if not equals or path.is_dir() or "/" in name or os.sep in name:
        return path.resolve().name, path
    if not name.strip() or not folder:
        raise InputError(f"{text!r} is not NAME=FOLDER. An example is ours=runs/7.")
    return name.strip(), Path(folder).expanduser()


def serve(
    folder: Folder = FOLDER,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    open_browser: bool = True,
) -> int:
    """Let listeners take the test in a browser, without a notebook or any code.

    Args:
        folder: folder of the test
        host: address of the server; 0.0.0.0 admits other machines of this network
        port: port of the server; 0 picks a free one
        token: secret word in the link (None: a random one, which stays for later runs)
        open_browser: also open the link in the browser of this machine
    """
    from mssedu.listening.test.server import Server
    from mssedu.listening.test.stimuli import check_files

    check_range("port", port, 0, 65535)

    async def run() -> None:
        with _results(folder) as store:
            check_files(store.design)  # here, and not when the first listener comes
            with Server(store, host, port, token) as server:
                say(f"Link for listeners: {server.address}")
                say(f"Answers: {store.path}. Ctrl-C stops; a later run can continue.")
                if open_browser:
                    webbrowser.open(server.address)
                await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the normal end
        asyncio.run(run())
    return 0


def report(
    folder: Folder = FOLDER,
    out_dir: OutDir = None,
    usdr: bool = False,
    screening: bool = True,
) -> int:
    """Write the results as report.html, LaTeX tables and a figure.

    Args:
        folder: folder of the test
        out_dir: folder of the report (None: FOLDER/report)
        usdr: also compare the ratings with the usdr of the same excerpts
        screening: leave out the listeners whom the rules of BS.1534 exclude, in mushra
    """
    from mssedu.listening.results.agreement import excerpt_scores
    from mssedu.listening.results.report import report_files, write_report

    out_dir = out_dir or folder / "report"
    with _results(folder) as store:
        left_out = _left_out(store)
        with _own_files(out_dir, report_files(store.design)):
            scores = excerpt_scores(store.design) if usdr else None
            path = write_report(
                store, out_dir, scores, screening=screening, left_out=left_out
            )
    say(f"Report: {path}")
    return 1 if left_out else 0


def export(
    folder: Folder = FOLDER,
    out_dir: OutDir = None,
    merge: Merged = (),
    html: bool = False,
) -> int:
    """Write the results as CSV (webMUSHRA's columns) and JSON, or the test as one page.

    Args:
        folder: folder of the test
        out_dir: folder of the files (None: FOLDER/results)
        merge: files with more results of this test, which are added to it first
        html: write the test, not the results, as one HTML file for any browser
    """
    from mssedu.listening.results.export import (
        FILES,
        ratings_frame,
        write_csv,
        write_json,
    )
    from mssedu.listening.test.offline import write_test_page

    out_dir = out_dir or folder / "results"
    with _results(folder) as store:
        merged = [_merged(path, store) for path in merge]
        if html:
            with _own_files(out_dir, ["test.html"]):
                path = write_test_page(store, out_dir / "test.html")
            say(f"Test: {path}, {path.stat().st_size / 1e6:.1f} MB, for any browser")
            say("Add the files that listeners send back: --merge results_*.json")
            return 0 if all(merged) else 1
        left_out = _left_out(store)
        with _own_files(out_dir, [FILES[store.design.test], "results.json"]):
            n_ratings = counted(len(ratings_frame(store, left_out)), "rating")
            say(f"CSV: {write_csv(store, out_dir, left_out)}, {n_ratings}")
            say(f"JSON: {write_json(store, out_dir / 'results.json', left_out)}")
    return 0 if all(merged) and not left_out else 1


def _merged(path: Path, store: Any) -> bool:
    """Merge a file, and say what became of its listeners; False if some are refused."""
    from mssedu.listening.results.export import merge_file

    try:
        found = merge_file(path, store)
    except MssEduError as error:
        where = "" if str(path) in str(error) else f"{path}: "
        report_failure("refused", f"{where}{error}")
        return False
    known = f", and {len(found.known)} known before" if found.known else ""
    say(f"{counted(len(found.added), 'listener')} from {path}{known}")
    for listener, reason in found.refused:
        report_failure("refused", f"{path}: listener {listener}: {reason}")
    return not found.refused


def _left_out(store: Any) -> dict[str, str]:
    """The listeners whose answers no test can give, each with a line."""
    from mssedu.listening.test.merge import impossible

    faults = impossible(store)
    for listener, reason in faults.items():
        report_failure("left out", f"listener {shown(listener)}: {reason}")
    return faults


def listen(
    code: Annotated[
        Annotated[Any, tyro.conf.subcommand("create", constructor=create)]
        | Annotated[Any, tyro.conf.subcommand("serve", constructor=serve)]
        | Annotated[Any, tyro.conf.subcommand("report", constructor=report)]
        | Annotated[Any, tyro.conf.subcommand("export", constructor=export)],
        tyro.conf.arg(name="", help="Choose one; each has a --help of its own."),
    ],
) -> int:
    """Create a listening test, let listeners take it, and report the results."""
    return int(code)  # tyro has run the subcommand


@contextlib.contextmanager
def _own_files(folder: Path, names: Sequence[str]) -> Iterator[None]:
    """Refuse to replace files of other origin; MARK lists those that are written."""
    mark = folder / MARK
    ours = mark.read_text("utf-8").strip().split("\n") if mark.is_file() else []
    for name in names:
        if name not in ours and (folder / name).exists():
            raise InputError(
                f"{folder.absolute()} has a {name} that mssedu listen did not write. "
                "Choose another folder with -o, or move the file."
            )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if written := [name for name in names if (folder / name).exists()]:
            write_text(mark, "\n".join([*dict.fromkeys([*ours, *written]), ""]))


def _results(folder: Path) -> Any:
    """The results of a test; the file is created if it does not exist."""
    from mssedu.listening.test.create import FILE, RESULTS
    from mssedu.listening.test.store import ResultStore

    return ResultStore(folder / RESULTS, load_design(folder / FILE))
