"""Re-run notebooks and store what they show, in a form that only changes when the content does.

    python -m rwsa_tutorial.making.notebooks [NOTEBOOK or FOLDER ...]

`make notebooks` is the short way. Needs nbclient and nbformat (the `dev` extra).
"""

import argparse
import base64
import io
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from PIL import Image

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_WORDS = "An interactive part: run this cell in JupyterLab to use it."
PROGRESS = re.compile(r"\d%\|")  # tqdm's bar, in words
KEPT_CELL_METADATA = {"tags", "jupyter", "nbgrader"}
THUMBNAIL = "thumbnail"  # the tag of the cell whose picture stands on the contents page
THUMBNAIL_SIZE = 300, 190  # pixels at most, width and height


def notebooks_in(places: Iterable[str | Path]) -> list[Path]:
    """Notebook paths, sorted, of files and folders (one level deep, as the lessons lie).

    Raises FileNotFoundError for a place that is no notebook and holds none.
    """
    paths = []
    for place in map(Path, places):
        found = sorted(place.glob("*.ipynb")) if place.is_dir() else [place]
        if not found or not all(path.suffix == ".ipynb" and path.is_file() for path in found):
            raise FileNotFoundError(f"{place} is no notebook and no folder with notebooks")
        paths += found
    return paths


def tidy(notebook: "NotebookNode") -> "NotebookNode":
    """Take out, in place, what differs from run to run or cannot be shown without a kernel.

    Widget states go (GitHub calls such a notebook invalid) and a widget's view becomes one plain
    sentence, a progress bar's nothing; figures are packed smaller; of the metadata only the kernel,
    the language, and a cell's tags stay. Returns the notebook.
    """
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        # what editors and converters go by; not the version, which differs between machines
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
    }
    for cell in notebook.cells:
        for name in set(cell.metadata) - KEPT_CELL_METADATA:
            del cell.metadata[name]
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_progress(output)]
        for output in cell.get("outputs", []):
            if WIDGET_VIEW in output.get("data", {}):
                output.data = {"text/plain": WIDGET_WORDS}
            if "image/png" in output.get("data", {}):
                kind, picture = packed(base64.b64decode(output.data.pop("image/png")))
                output.data[kind] = base64.b64encode(picture).decode("ascii")
    return notebook


def is_progress(output: Mapping) -> bool:
    """Whether this output of a cell is a progress bar, which is of use only while it moves."""
    data = output.get("data", {})
    return WIDGET_VIEW in data and bool(PROGRESS.search(data.get("text/plain", "")))


def packed(png: bytes) -> tuple[str, bytes]:
    """A PNG figure as (MIME type, bytes): 128 colours, or JPEG where that is smaller.

    Lines and letters stay sharp in the one, spectrograms (every pixel its own colour) shrink to a
    fifth in the other.
    """
    from PIL import Image

    picture = Image.open(io.BytesIO(png))
    if picture.mode == "P":  # packed before
        return "image/png", png
    picture = picture.convert("RGB")
    few_colours, jpeg = io.BytesIO(), io.BytesIO()
    few = {"method": Image.Quantize.MAXCOVERAGE, "dither": Image.Dither.NONE}  # rare colours stay
    picture.quantize(128, **few).save(few_colours, "PNG", optimize=True)
    picture.save(jpeg, "JPEG", quality=82, optimize=True)
    smallest = min((jpeg, "image/jpeg"), (few_colours, "image/png"), key=lambda p: p[0].tell())
    return smallest[1], smallest[0].getvalue()


def thumbnail(notebook: "NotebookNode") -> "Image.Image | None":
    """The picture of the cell tagged "thumbnail", made small, as a Pillow image; None without one.

    Raises ValueError when several cells have the tag, or when the one that has it shows no picture.
    """
    from PIL import Image

    tagged = [c for c in notebook.cells if THUMBNAIL in c.metadata.get("tags", [])]
    if not tagged:
        return None
    found = [
        data
        for output in tagged[0].get("outputs", [])
        for kind, data in output.get("data", {}).items()
        if kind in ("image/png", "image/jpeg")
    ]
    if len(tagged) > 1 or not found:
        raise ValueError(
            f"{len(tagged)} cells are tagged {THUMBNAIL!r}, and the first shows {len(found)} "
            "pictures; tag one cell, which shows one"
        )
    picture = Image.open(io.BytesIO(base64.b64decode(found[0]))).convert("RGB")
    picture.thumbnail(THUMBNAIL_SIZE, Image.Resampling.LANCZOS)
    return picture


def keep_thumbnail(path: str | Path) -> None:
    """Write thumbnails/NAME.png beside the notebook at `path`, if a cell of it is tagged."""
    import nbformat

    picture = thumbnail(nbformat.read(path, as_version=4))
    if picture is not None:
        target = Path(path).parent / "thumbnails" / f"{Path(path).stem}.png"
        target.parent.mkdir(exist_ok=True)
        picture.quantize(128).save(target, optimize=True)


def execute(
    notebook: "NotebookNode",
    folder: str | Path,
    timeout: int = 600,
    env: Mapping[str, str] | None = None,
    **options: object,
) -> None:
    """Run all cells of a notebook, in place, as if it lay in `folder`.

    timeout: seconds for one cell. env: the kernel's environment, by default ours. options:
    NotebookClient's. A cell that raises stops it with nbclient's CellExecutionError, which shows
    the cell.
    """
    from nbclient import NotebookClient

    NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # no warning that the kernel listens on this machine
        coalesce_streams=True,  # print by print or all at once: the kernel is not always the same
        **options,
    ).execute(env=os.environ if env is None else env)


def run(path: str | Path, timeout: int = 600) -> None:
    """Execute the notebook at `path` in its own folder and write it back with its outputs.

    The picture of a cell tagged "thumbnail" is kept for the contents page. timeout: seconds for one
    cell. A cell that raises stops it with nbclient's CellExecutionError, which shows the cell; the
    file is then left as it was.
    """
    import nbformat

    path = Path(path)
    notebook = nbformat.read(path, as_version=4)
    execute(notebook, path.parent, timeout)
    nbformat.write(tidy(notebook), path)
    keep_thumbnail(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebooks named; return 0, or 1 when one of them fails (the others still run)."""
    parser = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.making.notebooks", description=run.__doc__
    )
    parser.add_argument("places", nargs="*", default=["notebooks"], metavar="NOTEBOOK_OR_FOLDER")
    try:
        paths = notebooks_in(parser.parse_args(arguments).places)
    except FileNotFoundError as error:
        parser.error(str(error))
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    failed = []
    for path in paths:
        print(f"{path} ...", end=" ", flush=True)
        start = time.perf_counter()
        try:
            run(path)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(f"failed; the file is as it was.\n{error}")
            failed.append(path)
        else:
            print(f"{time.perf_counter() - start:.0f} s")
    if failed:
        print(f"{len(failed)} of {len(paths)} notebooks failed: {', '.join(map(str, failed))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
