"""What was measured, told: a table, and sentences."""

from collections.abc import Mapping

from ..tables import Table, at_cases, duration, hardware, in_document, ratio
from .report import Report, Row
from .tails import ALL, PLAIN

CAPTION = (
    "Median time of a step, plain and with an option, and its ratio to the plain one; the bytes "
    "that it reads and writes per element; the time of torch relative to fused. With "
    "accumulate_steps, a step is an update and the four gradients that go into it."
)


def table(report: Report) -> Table:
    """The contenders side by side, a row for each tail; the first of a case is the plain step."""
    names = list(dict.fromkeys(row.contender for row in report.rows))
    header = ["elements"]
    for name in names:
        header += [name, "to plain", "bytes", *(["to fused"] if name != "fused" else [])]
    groups = [[_line(rows) for rows in tails.values()] for tails in report.cases.values()]
    return Table(header, groups, 1, CAPTION)


def _line(rows: Mapping[str, Row]) -> list[str]:
    """One tail of one case."""
    fused = rows["fused"]
    texts = [fused.case if fused.options == PLAIN.label else f"+ {fused.options}"]
    for name, row in rows.items():
        texts += [duration(row.p50), ratio(row.to_plain), f"{row.bytes:.0f}"]
        texts += [ratio(row.to_fused)] if name != "fused" else []
    return texts


def to_markdown(report: Report) -> str:
    """The table for a document."""
    return in_document(table(report), report.machine)


def summary(report: Report) -> str:
    """What all options together cost, and how that compares, a line each."""
    whole = {case: tails[ALL.label] for case, tails in report.cases.items()}
    costs = at_cases({case: rows["fused"].to_plain for case, rows in whole.items()})
    lines = [f"fused with all options takes, relative to the plain step: {costs}"]
    if all("torch" in rows for rows in whole.values()):
        ratios = at_cases({case: rows["torch"].to_fused for case, rows in whole.items()})
        lines.append(f"torch with all options takes, relative to fused: {ratios}")
    return "\n".join(lines)


def headline(report: Report) -> str:
    """One sentence on the largest case of one array."""
    rows = largest(report)[ALL.label]
    fused, torch = rows["fused"], rows["torch"]
    return (
        "With gradients unscaled, checked, clipped and cleared, parameters averaged and copied, an "
        f"AdamW step over {fused.case} float32 elements is {ratio(torch.to_fused)} as fast as the "
        f"calls of PyTorch: it moves {fused.bytes:.0f} bytes per element, they {torch.bytes:.0f} "
        f"{hardware(report.machine)}."
    )


def largest(report: Report) -> Mapping[str, Mapping[str, Row]]:
    """The tails of the largest case of one array."""
    rows = max((r for r in report.rows if r.arrays == 1), key=lambda row: row.elements)
    return report.cases[rows.case]
