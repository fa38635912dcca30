"""How fast is it here? The scan engines side by side, and the whole network (`rwsa bench`).

Times are wall-clock seconds and the best of several rounds. In each round every engine has its
turn on the same inputs, so that a busy moment of the machine hits all alike. Before the rounds
each engine has been called, so compilation does not count. Memory is that of a fresh process.
"""

from .costs import PARTS, part_costs
from .measuring import measure
from .networks import network_rows
from .report import table, write_csv
from .scans import WAYS, ScanInputs, compare_scans, level_rows, level_shapes, scan_rows, why_not
from .timing import PATIENCE, best_of

__all__ = [
    "PARTS",
    "part_costs",
    "measure",
    "network_rows",
    "table",
    "write_csv",
    "ScanInputs",
    "WAYS",
    "compare_scans",
    "level_rows",
    "level_shapes",
    "scan_rows",
    "why_not",
    "PATIENCE",
    "best_of",
]
