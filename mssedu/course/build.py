"""From text to notebook: notebooks/py/NN_topic.py is written, the .ipynb is built.

    text (py:percent) ──read──▶ cells ──run in a fresh kernel──▶ outputs
                                                                    │
    NN_topic.ipynb ◀──stable ids, small outputs, digest, versions───┘

The sound of a player, about a megabyte, is left out. Its line of text stays, and the
sound comes back when the cell runs. A notebook is stale if its text has changed since.

    python -m mssedu.course.build 02            run notebook 02 and keep its outputs
    python -m mssedu.course.build --check all   exit with 1 if a notebook is stale
"""

import argparse
import base64
import hashlib
import html
import io
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from PIL import Image

import mssedu
from mssedu.audio.files import write_text
from mssedu.course.notebook import profile
from mssedu.errors import MssEduError, SetupError, check_name
from mssedu.separation.threads import short_spin

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebooks_folder() -> Path:
    """The folder of the notebooks in the checkout that mssedu is installed from.

    Raises:
        SetupError: mssedu was installed without its repository.
    """
    folder = Path(mssedu.__file__).parents[1] / "notebooks"
    if not (folder / "py").is_dir():
        missing = f"{folder / 'py'} does not exist."
        raise SetupError(f"{missing} Clone the repository and run: pip install -e .")
    return folder


def texts(number: str = "all", folder: Path | None = None) -> list[Path]:
    """The paths of the texts of one notebook, such as "02" or "2", or of "all".

    Raises:
        InputError: no notebook has that number.
    """
    paths = sorted(((folder or notebooks_folder()) / "py").glob("[0-9][0-9]_*.py"))
    by_number = {path.name[:2]: [path] for path in paths} | {"all": paths}
    return by_number[check_name("notebook", number.zfill(2), by_number)]


def notebook_path(text: Path) -> Path:
    """The path of the notebook of a text: one folder up, with the suffix .ipynb."""
    return text.parents[1] / f"{text.stem}.ipynb"


def build(text: Path) -> Path:
    """Run a text in a fresh kernel, write its notebook, and return the path.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised; nothing is written.
    """
    notebook = read(text)
    short_spin()  # the kernel inherits the environment
    started = time.perf_counter()
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(text.parents[1])}},
        coalesce_streams=True,
        record_timing=False,
        store_widget_state=False,
    )
    with tempfile.TemporaryDirectory() as scratch:  # not the reader's own answers
        progress = str(Path(scratch) / "progress.json")
        client.execute(env=os.environ | {"MSSEDU_PROGRESS": progress})
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            _make_small(output.get("data", {}))
    versions = {
        "mssedu": mssedu.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__.partition("+")[0],
    }
    notebook.metadata = nbformat.from_dict(_METADATA)  # the kernel has added its own
    notebook.metadata["mssedu"] = {
        "digest": digest(notebook),
        "profile": profile(),
        "seconds": round(time.perf_counter() - started),
        "versions": versions,
    }
    write_text(notebook_path(text), nbformat.writes(notebook) + "\n")
    return notebook_path(text)


def read(text: Path) -> NotebookNode:
    """The notebook of a text, not run: cells with stable ids and tags, no outputs."""
    notebook = jupytext.read(text, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(_METADATA)
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = NotebookNode({"tags": tags} if tags else {})
        content = f"{cell.cell_type}\n{cell.source}"
        seen[content] = seen.get(content, 0) + 1
        cell.id = _hash(f"{seen[content]}\n{content}")[:8]
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def digest(notebook: NotebookNode) -> str:
    """Fingerprint of a notebook: kind, source and tags of every cell, not outputs."""
    cells = [
        f"{cell.cell_type}\n{cell.metadata.get('tags', [])}\n{cell.source}"
        for cell in notebook.cells
    ]
    return _hash("\0".join(cells))


def stale(text: Path) -> str:
    """Why the notebook of a text is stale, and the remedy; empty if it is not."""
    target = notebook_path(text)
    remedy = f"run: python -m mssedu.course.build {text.name[:2]}"
    if not target.exists():
        return f"{target.name} is not built; {remedy}"
    notebook = nbformat.read(target, as_version=4)
    if digest(read(text)) != digest(notebook):
        return f"{target.name} differs from py/{text.name}; {remedy}"
    if notebook.metadata.get("mssedu", {}).get("digest") != digest(notebook):
        return f"{target.name} was edited after it was built; {remedy}"
    return ""


def _make_small(data: NotebookNode) -> None:
    """Replace the sound of a player by its text; reduce an image to 256 colors."""
    # Jupyter shows the widget first, and without its state only an error message.
    if "text/html" in data or "image/png" in data:
        data.pop("application/vnd.jupyter.widget-view+json", None)
    if "data:audio" in data.get("text/html", ""):
        text = html.escape(data["text/plain"])
        data["text/html"] = f"<p>{text} <em>(run the cell to listen)</em></p>"
    if "image/png" in data:
        image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        palette = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        palette.save(file := io.BytesIO(), "PNG", optimize=True)  # half of the bytes
        data["image/png"] = base64.b64encode(file.getvalue()).decode()


def _hash(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Build or check notebooks; return 0, or 1 if one is stale or a cell failed."""
    about = "Run the notebooks of notebooks/py and write them with outputs."
    parser = argparse.ArgumentParser("python -m mssedu.course.build", description=about)
    parser.add_argument("number", help="number of a notebook, such as 02, or all")
    check = "run nothing; list the stale notebooks and exit with 1 if there are any"
    parser.add_argument("--check", action="store_true", help=check)
    options = parser.parse_args(arguments)
    try:
        chosen = texts(options.number)
        if not options.check:
            for text in chosen:
                print(f"built {build(text).name}")
            return 0
    except MssEduError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except CellExecutionError as error:
        failed = f"{text.name}: a cell failed, nothing was written."
        print(failed, error, sep="\n", file=sys.stderr)
        return 1
    reasons = [reason for text in chosen if (reason := stale(text))]
    print("".join(f"{reason}\n" for reason in reasons), end="")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
