"""What was measured, as tables to read, with notes, and as CSV."""

from pathlib import Path

from .. import machine, tables
from .scans import LARGEST_ERROR, SHAPE, TRAINING_SAMPLES, WAYS

ERRORS = ("error of y", "worst gradient")
COLUMNS = (
    *("table", "case", "engine", *SHAPE),
    *("forward_s", "forward_ratio", "forward_rounds"),
    *("forward_backward_s", "forward_backward_ratio", "forward_backward_rounds"),
    *("forward_bytes_per_s", "forward_share"),
    *("forward_backward_bytes_per_s", "forward_backward_share"),
    *("output_error", "gradient_error", "worst_gradient"),
    *("seconds", "rounds", "real_time_factor", "memory_bytes"),
    *("not_measured", "memory_not_measured", "machine"),
)


def table(rows: list[dict]) -> str:
    """Rows of one table as text: what was measured, a Markdown table, notes."""
    return {"scan": _scan_table, "levels": _level_table, "network": _network_table}[
        rows[0]["table"]
    ](rows)


def _scan_table(rows):
    batch, channels, length, states = (rows[0][name] for name in SHAPE)
    title = (
        f"Selective scan: B = {batch}, D = {channels}, L = {length}, N = {states}, float32, with "
        f"softplus, bias, skip and gate; {_rounds(rows)}. Memory: of forward and backward, on top "
        "of the inputs. Errors: against the loop in float64, relative norms"
    )
    head = ["engine", "forward", "× loop", "forward + backward", "× loop", "memory", *ERRORS]
    cells = [
        [row["engine"], *_timed(row, "forward"), *_timed(row, "forward_backward")]
        + [_known(row, "memory_bytes", machine.size), *_errors(row)]
        for row in rows
    ]
    return _text(title, [head, *cells], rows)


def _level_table(rows):
    title = (
        f"Selective scans of a network on {TRAINING_SAMPLES} samples, level by level; "
        f"{_rounds(rows)}; GB/s that must be moved, and its share of what a plain copy reaches"
    )
    timed = ["× loop", "GB/s", "of copy"]
    head = ["scan", "B, D, L, N", "engine", "forward", *timed, "forward + backward", *timed]
    cells = [
        [row["case"], ", ".join(str(row[name]) for name in SHAPE), row["engine"]]
        + [
            cell
            for way in WAYS
            for cell in (
                *_timed(row, way),
                _known(row, f"{way}_bytes_per_s", lambda x: f"{x / 1e9:.3g}"),
                _known(row, f"{way}_share", lambda x: f"{100 * x:.2g} %"),
            )
        ]
        + _errors(row)
        for row in rows
    ]
    return _text(title, [[*head, *ERRORS], *cells], rows)


def _network_table(rows):
    title = (
        f"Whole network, each row in its own process, whose peak memory is given; a training "
        f"example has {TRAINING_SAMPLES} samples. Real-time factor: computing by playing time"
    )
    head = ["network", "engine", "time", "best of", "real-time factor", "peak memory"]
    cells = [
        [row["case"], row["engine"], _known(row, "seconds", machine.duration)]
        + [_known(row, "rounds", str), _known(row, "real_time_factor", "{:.2f}".format)]
        + [_known(row, "memory_bytes", machine.size)]
        for row in rows
    ]
    return _text(title, [head, *cells], rows)


def write_csv(path: str | Path, rows: list[dict], words: str = "") -> None:
    """Write rows of any table as CSV with the columns of COLUMNS; what is absent stays empty.

    words: about the machine, repeated in each row. The file appears whole or not at all, and
    replaces an existing one.
    """
    tables.write(path, COLUMNS, [row | {"machine": words} for row in rows])


def _rounds(rows):
    most = max((row.get("forward_rounds", 0) for row in rows), default=0)
    return f"best of {most}"


def _timed(row, way):
    return [_known(row, f"{way}_s", machine.duration), _known(row, f"{way}_ratio", "{:.3g}".format)]


def _errors(row):
    worst = row.get("worst_gradient")
    return [
        _known(row, "output_error", "{:.1e}".format),
        _known(row, "gradient_error", lambda x: f"{x:.1e} ({worst})"),
    ]


def _known(row, name, words):
    """The cell of a value in words, "not measured", or "–" where there is none to measure."""
    if row.get(name) is not None:
        return words(row[name])
    return "not measured" if row["not_measured"] else "–"


def _notes(rows):
    """What the cells cannot say: who is missing and why, who left early, who is wrong."""
    most = max((row.get("forward_rounds", 0) for row in rows), default=0)
    for row in rows:
        engine, where = row["engine"], f" ({row['case']})" if "case" in row else ""
        if row["not_measured"]:
            yield f"{engine} is not measured{where}: {row['not_measured']}."
        if row.get("memory_not_measured"):
            yield f"The memory of {engine} is not measured: {row['memory_not_measured']}."
        if any(not row[e] <= LARGEST_ERROR for e in ("output_error", "gradient_error") if e in row):
            yield f"{engine} is WRONG{where}: further than {LARGEST_ERROR:g} from float64."
        taken = [row[f"{way}_rounds"] for way in WAYS if f"{way}_rounds" in row]
        if taken and min(taken) < most:
            yield f"{engine} is slow{where}: best of {taken[0]} forward, {taken[1]} with backward."


def _text(title, cells, rows):
    """Title, a Markdown table that is readable as text too, and a list of notes."""
    notes = [f"- {note}" for note in _notes(rows)]
    return "\n".join([f"{title}.", "", tables.markdown(cells), *([""] if notes else []), *notes])
