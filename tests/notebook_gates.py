"""What every stored notebook must keep to. Each gate takes a path and returns what is wrong.

    python tests/notebook_gates.py [NOTEBOOK or FOLDER ...]

exits with 1 when a gate finds something. The gates read; they run nothing. For each of them
`tests/bad_notebooks/` holds a notebook that it must catch.
"""

import dis
import re
import sys
from types import CodeType

import nbformat

from rwsa_tutorial.making.notebooks import WIDGET_VIEW, notebooks_in

SIZE_LIMIT = 1_000_000  # bytes; GitHub shows larger notebooks slowly or not at all
SECTIONS = (  # a heading that starts with these words, in any level, in this order
    "Aim and time",
    "Where we are",
    "Exercises",
    "Quiz",
    "What the paper does not tell you",
    "What next",
)
# The first and the last notebook are a welcome and a playground, not lessons with exercises.
FRAME_SECTIONS = {"00": ("Aim and time", "What next"), "10": ("Aim and time",)}

READING = ("LOAD_NAME", "LOAD_GLOBAL")  # instructions
COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")  # run where they stand
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:home|root|work|tmp|var|opt|mnt|usr|Users|private|content|workspace)/[\w.]"
    r"|(?<!\w)[A-Za-z]:\\{1,2}\w"
)
EMBEDDED = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=]+")
PESQ_AS_A_NUMBER = re.compile(r"""\[["'](?:noisy_)?pesq["']\](?:\[\d\])?:""")
FROM_THE_NETWORK = re.compile(
    r"https?://|\b(?:pip3?|conda|mamba|uv|apt|apt-get)\s+(?:-\w+\s+)*install\b|%(?:pip|conda)\b"
    r"|\b(?:wget|curl|git\s+clone)\s|\burllib\.request\b|\bimport\s+(?:requests|urllib3|httpx)\b"
)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    """(number in the notebook from 0, cell) of every code cell that is not empty."""
    for number, cell in enumerate(read(path).cells):
        if cell.cell_type == "code" and cell.source.strip():
            yield number, cell


def execution_order(path):
    """Every code cell was run once, from top to bottom, in one go."""
    for place, (number, cell) in enumerate(code_cells(path), start=1):
        if cell.execution_count != place:
            yield f"cell {number} has execution count {cell.execution_count}, not {place}"


def size(path):
    """The file stays small enough to be shown and to be cloned."""
    if (found := path.stat().st_size) >= SIZE_LIMIT:
        yield f"{found:,} bytes, the limit is {SIZE_LIMIT:,}"


def error_outputs(path):
    """No stored output is a traceback."""
    for number, cell in code_cells(path):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"cell {number} stores an error: {output.ename}: {output.evalue}"


def language(path):
    """The metadata say how a script of this language is named, or nbconvert writes a .txt."""
    info = read(path).metadata.get("language_info", {})
    if (info.get("file_extension"), info.get("mimetype")) != (".py", "text/x-python"):
        yield "language_info lacks file_extension .py and mimetype text/x-python"


def widget_metadata(path):
    """No widget state, which GitHub answers with "Invalid Notebook", and no view without it."""
    if "widgets" in read(path).metadata:
        yield "the notebook's metadata hold widget state"
    for number, cell in code_cells(path):
        if any(WIDGET_VIEW in output.get("data", {}) for output in cell.outputs):
            yield f"cell {number} stores a widget that nothing can show"


def absolute_paths(path):
    """No folder of the machine that a notebook was written on, in sources or outputs."""
    for number, cell in enumerate(read(path).cells):
        for text in [cell.source, *_output_texts(cell)]:
            if found := ABSOLUTE_PATH.search(EMBEDDED.sub("", text)):
                yield f"cell {number} names an absolute path: {text[found.start() :][:40]!r}"


def _output_texts(cell):
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        yield "\n".join(output.get("traceback", []))
        for kind, data in output.get("data", {}).items():
            if not kind.startswith("image/") or kind.endswith("xml"):
                yield data if isinstance(data, str) else str(data)


def network(path):
    """No code cell downloads or installs anything: lessons run offline."""
    for number, cell in code_cells(path):
        if found := FROM_THE_NETWORK.search(cell.source):
            yield f"cell {number} needs the network: {found.group()!r}"


def sections(path):
    """The template's headings are there, in its order, and the time needed is given in minutes."""
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    headings = re.findall(r"^#+ +(?:\d+[.:] +)?(.*?) *$", text, flags=re.MULTILINE)
    wanted = FRAME_SECTIONS.get(path.name[:2], SECTIONS)
    places = []
    for section in wanted:
        places += [i for i, heading in enumerate(headings) if heading.startswith(section)][:1]
        if not any(heading.startswith(section) for heading in headings):
            yield f"there is no section {section!r}"
    if places != sorted(places):
        yield f"the sections are not in the order {', '.join(wanted)}"
    if "Aim and time" in wanted and not re.search(r"\*\*Time:?\*\*.*\bminutes?\b", text):
        yield "the time needed is not given (**Time:** ... minutes)"


def cited_numbers(path):
    """At least one output is compared by the tests: the numbers that the prose cites."""
    if not any("# NBVAL_CHECK_OUTPUT" in cell.source for _, cell in code_cells(path)):
        yield "no cell has # NBVAL_CHECK_OUTPUT, so no number that the prose cites is checked"


def missing_scores(path):
    """No f-string takes PESQ for a number: where the package is not installed there is none."""
    for number, cell in code_cells(path):
        if PESQ_AS_A_NUMBER.search(cell.source):
            yield f"cell {number} formats PESQ, which may be None: print metrics.shown(score)"


def names_reused(path):
    """A name that another cell reads is set in one cell alone, so that one can go back to any."""
    names = {number: cell_names(cell.source) for number, cell in code_cells(path)}
    for name in sorted(set().union(*(sets for sets, _ in names.values()))):
        set_in = [number for number, (sets, _) in names.items() if name in sets]
        read_in = [number for number, (_, reads) in names.items() if name in reads]
        if len(set_in) > 1 and read_in:
            yield f"cells {set_in} all set {name!r}, and {read_in} read it: give each its own name"


def cell_names(source):
    """The names that a cell sets, and those that it reads before, or inside of functions."""
    sets, reads, later = set(), set(), set()
    source = re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE)  # IPython's own commands
    for step in dis.get_instructions(compile(source, "a cell", "exec")):
        if step.opname == "STORE_NAME":
            sets.add(step.argval)
        elif step.opname in READING:
            reads |= {step.argval} - sets
        elif isinstance(step.argval, CodeType):
            if step.argval.co_name in COMPREHENSIONS:
                reads |= _read_inside(step.argval) - sets
            else:
                later |= _read_inside(step.argval)
    return sets, reads | later


def _read_inside(code):
    """The global names that a function, class or comprehension reads."""
    inside = list(dis.get_instructions(code))
    found = {step.argval for step in inside if step.opname in READING}
    return found.union(*(_read_inside(s.argval) for s in inside if isinstance(s.argval, CodeType)))


GATES = (
    execution_order,
    size,
    error_outputs,
    language,
    widget_metadata,
    absolute_paths,
    network,
    sections,
    cited_numbers,
    missing_scores,
    names_reused,
)


def problems(path):
    """All that the gates find in one notebook, as lines."""
    return [f"{gate.__name__}: {words}" for gate in GATES for words in gate(path)]


def main(places):
    """Print what is wrong with the notebooks named; the exit status."""
    found = [f"{path}: {words}" for path in notebooks_in(places) for words in problems(path)]
    print("\n".join(found) if found else "The notebook gates found nothing.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["notebooks"]))
