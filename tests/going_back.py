"""A notebook's cells as a reader may run them: in order, each twice, each again after the end.

    python tests/going_back.py [NOTEBOOK or FOLDER ...]

says which cells fail, or print other numbers than are stored, and exits with 1 if any do. All cells
are run again, also those that take long, which `test_lessons.py` runs once.
"""

import io
import linecache
import sys
from contextlib import redirect_stdout

import matplotlib.pyplot as plt
import nbformat

from rwsa_tutorial.making.notebooks import notebooks_in


class Lesson:
    """The code cells of a notebook, in one namespace and in this process."""

    def __init__(self, path):
        self.path = path
        self.cells = nbformat.read(path, as_version=4).cells
        self.namespace = {"__name__": "__main__", "display": lambda *things: None}
        self.printed = {}  # number of a cell -> what it printed at first

    def numbers(self, without=()):
        """The numbers of the code cells that have none of these tags."""
        for number, cell in enumerate(self.cells):
            if cell.cell_type == "code" and not set(without) & set(cell.metadata.get("tags", [])):
                yield number

    def run(self, number):
        """Run a cell; what it prints, as text."""
        source, where = self.cells[number].source, f"{self.path.name}, cell {number}"
        lines = source.splitlines(keepends=True)
        linecache.cache[where] = len(source), None, lines, where  # Triton reads its kernels
        with redirect_stdout(io.StringIO()) as printed:
            exec(compile(source, where, "exec"), self.namespace)
        plt.close("all")
        self.printed.setdefault(number, printed.getvalue())
        return printed.getvalue()

    def unlike_stored(self, number):
        """After the first run: what a checked cell prints otherwise than it is stored, in words."""
        stored = "".join(
            output.text for output in self.cells[number].outputs if output.get("name") == "stdout"
        )
        if self.checked(number) and self.printed[number] != stored:
            yield (
                f"{self.path.name}, cell {number}, prints\n{self.printed[number]}"
                f"and stored is\n{stored}"
            )

    def checked(self, number):
        """Whether what the cell prints has to stay as it is."""
        return "# NBVAL_CHECK_OUTPUT" in self.cells[number].source

    def again(self, number, when):
        """Run a cell again; yields what is wrong then, in words."""
        try:
            printed = self.run(number)
        except Exception as error:
            yield f"{self.path.name}, cell {number}, {when}: {type(error).__name__}: {error}"
            return
        if self.checked(number) and printed != self.printed[number]:
            yield (
                f"{self.path.name}, cell {number}, {when}, prints\n{printed}"
                f"and not\n{self.printed[number]}"
            )

    def again_after_the_end(self, numbers):
        """Run each of these cells again, each with the names as the notebook's end left them."""
        end = dict(self.namespace)
        for number in numbers:
            yield from self.again(number, "after the end")
            self.namespace.clear()
            self.namespace.update(end)


def problems(path):
    """What goes wrong in a notebook when one goes back, as lines."""
    lesson = Lesson(path)
    found = []
    for number in lesson.numbers():
        try:
            lesson.run(number)
        except Exception as error:
            return [*found, f"{path.name}, cell {number}: {type(error).__name__}: {error}"]
        found += lesson.unlike_stored(number)
        found += lesson.again(number, "run twice")
    return found + list(lesson.again_after_the_end(lesson.numbers()))


def main(places):
    """Print what is wrong with the notebooks named; the exit status."""
    plt.switch_backend("Agg")
    found = [words for path in notebooks_in(places) for words in problems(path)]
    fine = "Each cell does what is stored, also twice, and again after the end."
    print("\n".join(found) if found else fine)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["notebooks"]))
