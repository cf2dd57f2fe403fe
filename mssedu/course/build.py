"""From text to notebook: notebooks/py/NN_topic.py is written, the .ipynb is built.

    text (py:percent) ──read──▶ cells ──run in a fresh kernel──▶ outputs
                                                                    │
    NN_topic.ipynb ◀──stable ids, small outputs, digest, versions───┘

Players lose their sound (a megabyte each) and keep their line of text, until one run
brings the sound back. `stale` tells whether a built notebook still says what its text
says.

    python -m mssedu.course.build 02            run notebook 02 and keep its outputs
    python -m mssedu.course.build --check all   exit with 1 if one is stale
"""

import argparse
import base64
import hashlib
import html
import io
import platform
import sys
import time
from pathlib import Path

import jupytext
import nbformat
import torch
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

import mssedu
from mssedu.course.notebook import profile
from mssedu.errors import MssEduError, SetupError, check_name, message
from mssedu.separation.threads import short_spin

_METADATA = {
    "kernelspec": {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}


def notebooks_folder() -> Path:
    """The folder of the notebooks in the checkout that mssedu is installed from.

    Raises:
        SetupError: mssedu was installed without its repository.
    """
    folder = Path(mssedu.__file__).parents[1] / "notebooks"
    if not (folder / "py").is_dir():
        remedy = "Clone the repository and install it with: pip install -e ."
        wanted = "notebooks/py beside the package"
        raise SetupError(message("notebook", wanted, "none", remedy))
    return folder


def texts(number: str = "all", folder: Path | None = None) -> list[Path]:
    """The text of the notebook of that number ("02"), or of all.

    Raises:
        InputError: no notebook has that number.
    """
    found = sorted(((folder or notebooks_folder()) / "py").glob("[0-9][0-9]_*.py"))
    by_number = {path.name[:2]: [path] for path in found}
    by_number["all"] = found
    check_name("number", number, by_number)
    return by_number[number]


def built(text: Path) -> Path:
    """Where the notebook of a text lies: one folder up, with the suffix .ipynb."""
    return text.parents[1] / f"{text.stem}.ipynb"


def build(text: Path) -> Path:
    """Run a text from top to bottom in a fresh kernel and write its notebook.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised; nothing is written.
    """
    notebook = read(text)
    short_spin()  # the kernel inherits it
    started = time.perf_counter()
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(built(text).parent)}},
        coalesce_streams=True,
        record_timing=False,
        store_widget_state=False,
    )
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            _make_small(output.get("data", {}))
    notebook.metadata = nbformat.from_dict(_METADATA)  # without what the kernel added
    notebook.metadata["mssedu"] = {
        "digest": digest(notebook),
        "profile": profile(),
        "seconds": round(time.perf_counter() - started),
        "versions": {
            "mssedu": mssedu.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__.partition("+")[0],
        },
    }
    nbformat.write(notebook, target := built(text))
    return target


def read(text: Path) -> NotebookNode:
    """The notebook of a text, not run: cells with stable ids, tags and no outputs."""
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
    """Fingerprint of what a notebook says: kind, source and tags of every cell."""
    return _hash(
        "\0".join(
            f"{cell.cell_type}\n{cell.metadata.get('tags', [])}\n{cell.source}"
            for cell in notebook.cells
        )
    )


def stale(text: Path) -> str:
    """Why the built notebook does not match its text; empty if it does."""
    target = built(text)
    remedy = f"run: python -m mssedu.course.build {text.name[:2]}"
    if not target.exists():
        return f"{target.name} is not built; {remedy}"
    notebook = nbformat.read(target, as_version=4)
    recorded = notebook.metadata.get("mssedu", {}).get("digest")
    if digest(read(text)) != digest(notebook):
        return f"{target.name} differs from py/{text.name}; {remedy}"
    if recorded != digest(notebook):
        return f"{target.name} was edited after it was built; {remedy}"
    return ""


def _make_small(data: NotebookNode) -> None:
    """Of a player keep its line of text, of a picture 256 colors: half the bytes."""
    # A widget that is not there any more would show an error instead of these.
    if "text/html" in data or "image/png" in data:
        data.pop("application/vnd.jupyter.widget-view+json", None)
    if "data:audio" in data.get("text/html", ""):
        text = html.escape(data["text/plain"])
        data["text/html"] = f"<p>{text} <em>(run the cell to listen)</em></p>"
    if "image/png" in data:
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        palette = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        palette.save(file := io.BytesIO(), "PNG", optimize=True)
        data["image/png"] = base64.b64encode(file.getvalue()).decode()


def _hash(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Build or check notebooks; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mssedu.course.build",
        description="Run notebooks from their text and keep the outputs.",
    )
    parser.add_argument("number", help="number of the notebook, such as 02, or all")
    only = "compare without running, and exit with 1 if a built notebook is stale"
    parser.add_argument("--check", action="store_true", help=only)
    options = parser.parse_args(arguments)
    try:
        chosen = texts(options.number)
    except MssEduError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if not options.check:
        for text in chosen:
            print(f"built {build(text).name}")
        return 0
    reasons = [reason for text in chosen if (reason := stale(text))]
    for reason in reasons:
        print(reason)
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
