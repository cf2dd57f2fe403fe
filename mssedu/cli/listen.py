"""The command `mssedu listen`: make a listening test, and find out what it says.

mssedu listen create RUN_A RUN_B --data SONGS    excerpts and test.toml in runs/listen
mssedu listen create ours=runs/7 theirs=runs/8   the same, with names of your choice
mssedu listen serve runs/listen                  a link for listeners: no code to see
mssedu listen export runs/listen --html          the same as one file, without Python
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

from mssedu.cli.console import say
from mssedu.errors import InputError, message
from mssedu.listening.test.design import CHOICES, check_systems
from mssedu.listening.test.excerpts import Excerpts

FOLDER = Path("runs/listen")
MARK = ".mssedu-listen"  # lists the files of a folder that report and export wrote
Folder = Annotated[Path, tyro.conf.Positional]
Runs = Annotated[
    tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME=]FOLDER")
]
OutDir = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]


@dataclass(frozen=True)
class Settings:
    """The most used settings of a test; all of them stand in its test.toml."""

    test: Literal["mushra", "acr", "abx", "2afc"] = "mushra"  # kind of test
    title: str = ""  # what listeners read above the page
    anchors: tuple[str, ...] | None = None  # bad versions to hear; mushra: 3.5, 7 kHz
    trials_per_listener: int | None = None  # a balanced random subset; all if not given
    n_replicates: int = 1  # pages shown again, to see how steady a rater is
    n_repetitions: int = 1  # of each pair in abx and 2afc
    match_loudness: bool = True  # all versions of an excerpt to one loudness
    seed: int = 0  # of every order


def create(
    runs: Runs,
    excerpts: Annotated[Excerpts, tyro.conf.arg(name="")],
    settings: Annotated[Settings, tyro.conf.arg(name="")],
    out_dir: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = FOLDER,
) -> int:
    """Cut excerpts from the stems of several systems and write test.toml.

    Args:
        runs: folders of stems, one for each system; the results call it NAME, or as
            its folder is called. Listeners never see these names.
        excerpts: of which songs and stems.
        settings: of the test.
        out_dir: folder of the test.
    """
    from mssedu.listening.results.ratings import power_note
    from mssedu.listening.test.create import create_test

    named = [named_run(run) for run in runs]
    names = [name for name, _ in named]
    remedy = "Name a system yourself with NAME=FOLDER, such as ours=runs/7."
    check_systems("listen create", names, remedy)
    systems = dict(named)
    design = create_test(out_dir, systems, excerpts, **asdict(settings))
    say(f"{len(design.trials)} trials of {', '.join(design.stimuli)}")
    if design.test not in CHOICES and len(names) > 1:
        say(power_note(5, len(names)))
    say(f"Read it, and change it until somebody has listened: {out_dir / 'test.toml'}")
    return 0


def named_run(text: str) -> tuple[str, Path]:
    """Name and folder of a run that is written as FOLDER or as NAME=FOLDER.

    A folder that exists is taken as it is, since its name may hold "=" too.

    Raises:
        InputError: no name or no folder beside "=".

    Example:
        >>> name, folder = named_run("ours=runs/lr=0.1")
        >>> name, folder.as_posix()
        ('ours', 'runs/lr=0.1')
    """
    name, equals, folder = text.partition("=")
    path = Path(text).expanduser()
    is_path = path.is_dir() or "/" in name or os.sep in name
    if not equals or is_path:
        return path.resolve().name, path
    if not name.strip() or not folder:
        remedy = "Write it like ours=runs/7."
        raise InputError(message("listen create", "NAME=FOLDER", repr(text), remedy))
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
        folder: of the test.
        host: address to listen at; 0.0.0.0 lets other machines of this network in.
        port: 0: any that is free.
        token: what the link must hold; a random one if not given.
        open_browser: open the link here as well.
    """
    from mssedu.listening.test.server import Server

    async def run() -> None:
        with _results(folder) as store, Server(store, host, port, token) as server:
            say(f"Link for listeners: {server.address}")
            say(f"Answers: {store.path}. Ctrl-C ends; codes hold when it runs again.")
            if open_browser:
                webbrowser.open(server.address)
            await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):  # that is how it ends
        asyncio.run(run())
    return 0


def report(
    folder: Folder = FOLDER,
    out_dir: OutDir = None,
    usdr: bool = False,
) -> int:
    """Write what listeners have said as report.html, LaTeX tables and a figure.

    Args:
        folder: of the test.
        out_dir: for the report; FOLDER/report if not given.
        usdr: set the ratings against the usdr of the same excerpts.
    """
    from mssedu.listening.results.agreement import excerpt_scores
    from mssedu.listening.results.report import write_report

    out_dir = out_dir or folder / "report"
    with _results(folder) as store:
        design = store.design
        tables = [f"{name}.tex" for name in (*design.questions, design.test)]
        with _own_files(out_dir, ["report.html", "ratings.pdf", *tables]):
            scores = excerpt_scores(design) if usdr else None
            path = write_report(store, out_dir, scores)
    say(f"Report: {path}")
    return 0


def export(
    folder: Folder = FOLDER,
    out_dir: OutDir = None,
    merge: tuple[Path, ...] = (),
    html: bool = False,
) -> int:
    """Write the results as CSV in webMUSHRA's columns and as JSON, or the test itself.

    Args:
        folder: of the test.
        out_dir: for the files; FOLDER/results if not given.
        merge: results of other machines or pages with the same test, taken in first.
        html: write the test as one HTML file, which a browser runs without Python.
    """
    from mssedu.listening.results.export import FILES, read_json, write_csv, write_json
    from mssedu.listening.test.offline import write_test_page

    out_dir = out_dir or folder / "results"
    with _results(folder) as store:
        for path in merge:
            say(f"{len(read_json(path, store))} listeners from {path}")
        if html:
            with _own_files(out_dir, ["test.html"]):
                path = write_test_page(store, out_dir / "test.html")
            say(f"Test: {path}, {path.stat().st_size / 1e6:.1f} MB, for any browser")
            say("Take in what listeners send back: --merge results_*.json")
            return 0
        with _own_files(out_dir, [FILES[store.design.test], "results.json"]):
            say(f"CSV: {write_csv(store, out_dir)}")
            say(f"JSON: {write_json(store, out_dir / 'results.json')}")
    return 0


def listen(
    done: Annotated[
        Annotated[Any, tyro.conf.subcommand("create", constructor=create)]
        | Annotated[Any, tyro.conf.subcommand("serve", constructor=serve)]
        | Annotated[Any, tyro.conf.subcommand("report", constructor=report)]
        | Annotated[Any, tyro.conf.subcommand("export", constructor=export)],
        tyro.conf.arg(name=""),
    ],
) -> int:
    """Make a listening test, let people take it, evaluate and export it.

    Args:
        done: exit code of the subcommand, which has run by then.
    """
    return int(done)


@contextlib.contextmanager
def _own_files(folder: Path, names: Sequence[str]) -> Iterator[None]:
    """While open, files of these names are written; the folder remembers them.

    Raises:
        InputError: one of them is there, and this command has not written it.
    """
    mark = folder / MARK
    ours = mark.read_text("utf-8").splitlines() if mark.is_file() else []
    others = [name for name in names if name not in ours and (folder / name).exists()]
    if others:
        remedy = "Choose another folder with -o, or move it away."
        wanted = f"a folder without a {others[0]} of other origin"
        raise InputError(message("listen", wanted, folder.absolute(), remedy))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        written = [name for name in names if (folder / name).exists()]
        if written:
            lines = "\n".join(dict.fromkeys([*ours, *written]))
            mark.write_text(f"{lines}\n", "utf-8")


def _results(folder: Path) -> Any:
    """The results of a test; a file is made if nobody has listened yet."""
    from mssedu.listening.test.create import FILE, RESULTS
    from mssedu.listening.test.design import load_design
    from mssedu.listening.test.store import ResultStore

    return ResultStore(folder / RESULTS, load_design(folder / FILE))
