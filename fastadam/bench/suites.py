"""The list of suites; runs them, and shows their results."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from . import (
    charts,
    csv_io,
    machine,
    offload,
    options,
    precision,
    steps,
    tables,
    timing,
    training,
)
from .console import Show, say
from .measurement import OURS, Measurement, Report
from .tables import CASE, Column, Table, build
from .workload import Request, Suite, Turn


def measured(
    suite: Suite, request: Request, show: Show, seconds: float, rounds: int | None
) -> list[Measurement]:
    """Validate every contender, which compiles it as well, then time those that fit into memory.

    Raises:
        ValueError: if a script of its own measures the suite.
        RuntimeError: if a contender is wrong.
    """
    if suite.plan is None:
        raise ValueError(f"the suite {suite.name!r} has no plan")
    plan = suite.plan(request)
    for number, check in enumerate(plan.checks):
        show(check.label, number / len(plan.checks))
        check.run()
    return [
        row
        for turn in plan.turns
        if fits(turn)
        for row in timed(suite.name, turn, show, seconds, rounds)
    ]


def publish(report: Report, path: Path | None = None) -> None:
    """Print the table and the summary of a report, and write it to a CSV file if there is one."""
    suite = suite_of(report)
    tables.show(suite.table(report))
    print(tables.conditions(report.machine))
    print(suite.summary(report))
    if path:
        csv_io.write_report(report, path)
        say(f"Wrote {path}")


def fits(turn: Turn) -> bool:
    """Compare the memory of a turn with that of the machine; report on stderr what is skipped."""
    machine.release_freed_memory()
    available = machine.available_memory()
    if available is None or turn.needed <= available:
        return True
    say(
        f"Skipping {turn.case.label}: it takes {turn.needed / 1e9:.1f} GB of memory, and "
        f"{available / 1e9:.1f} GB are available."
    )
    return False


def timed(
    suite: str,
    turn: Turn,
    show: Show,
    seconds: float,
    rounds: int | None,
    sample: timing.Sample | None = None,
) -> Iterator[Measurement]:
    """The measurements of a turn; `sample` is an argument of `timing.measure`."""
    together, before = turn.make(), None
    if turn.refresh:
        fresh = [grad.copy() for grad in together[0].grads]
        before = [partial(each.fill, fresh) for each in together]
    show(turn.label, 0.0)
    timings = timing.measure(
        [each.step for each in together],
        before=before,
        seconds=seconds,
        rounds=rounds,
        progress=partial(show, turn.label),
        sample=sample,
    )
    for each, quantiles in zip(together, timings, strict=True):
        yield Measurement(
            suite=suite,
            case=turn.case.label,
            config=each.config,
            contender=each.name,
            arrays=len(turn.case.sizes),
            elements=turn.case.elements,
            bytes=each.bytes(),
            resident=each.resident(),
            **quantiles.columns(),
        )


# Suites that scripts in bench/ measure


def others_summary(report: Report) -> str:
    """Times of the others, a line each."""
    return "\n".join(tables.compared(report, name) for name in report.contenders if name != OURS)


def others_table(cases: str, timed: str = "a step", *first: Column) -> Callable[[Report], Table]:
    """A function that makes a table with a row for each case; `first` are columns before its
    label."""

    def table(report: Report) -> Table:
        names = [name for name in report.contenders if name != OURS]
        columns = [tables.median(report, name) for name in (OURS, *names)]
        named = [*first, Column(cases, CASE.text)]
        caption = f"Median time of {timed}, and its ratio to that of {OURS}."
        return build(report.of(), [*named, *columns], len(named), caption, grouped=False)

    return table


def speed_up(ours: str, contender: str, theirs: str) -> Callable[[Report], str]:
    """A function that makes one sentence on how a contender compares."""

    def headline(report: Report) -> str:
        ratios = {row.case: report.ratio(row, OURS) for row in report.of(contender)}
        return (
            f"Speed-up of {ours} over {theirs}: {tables.at_cases(ratios)} "
            f"{tables.hardware(report.machine)}."
        )

    return headline


def distributed_table(report: Report) -> Table:
    """A row for each contender and number of processes."""

    def time(row: Measurement) -> str:
        ratio = "" if row.contender == OURS else f", {tables.times(report.ratio(row, OURS))}"
        return f"{tables.duration(row.p50_s)}{ratio}"

    columns = [Column("", CASE.text), tables.CONTENDER, Column("time of a step", time)]
    columns.append(Column("bytes of state", lambda row: f"{row.resident:.3g}"))
    caption = (
        f"Median time of a step, and its ratio to that of {OURS}; bytes of state in each process, "
        "per element of all parameters."
    )
    return build(report.rows, columns, 2, caption)


# The shapes of real models: bench/torch_adapter.py
ADAPTER = Suite(
    "torch",
    others_table("parameters"),
    others_summary,
    speed_up("`fastadam.torch.AdamW`", "torch fused", "PyTorch's fused AdamW"),
)
# Some rows of a table: bench/rows.py
ROWS = Suite(
    "rows",
    others_table("parameters", "a step", tables.CONFIG),
    others_summary,
    speed_up("row-sparse steps", "torch SparseAdam", "`torch.optim.SparseAdam`"),
    charts.draw_rows,
)
# Steps inside other programs: bench/embedding.py
EMBEDDING = Suite(
    "embedding",
    others_table("AdamW in", "a call"),
    others_summary,
    speed_up("`fastadam.jax.adamw`", "optax", "`optax.adamw`"),
)
# Steps of a federated server: bench/servers.py
SERVERS = Suite(
    "servers",
    others_table("parameters"),
    others_summary,
    speed_up("a server's step", "NumPy", "NumPy"),
)
# Several processes: bench/distributed.py
DISTRIBUTED = Suite(
    "distributed",
    distributed_table,
    others_summary,
    speed_up("sharded steps", "all-reduce, MPI", "an all-reduce and a step of all elements"),
)
_ALL = (
    steps.SUITE,
    options.SUITE,
    precision.SUITE,
    offload.SUITE,
    training.SUITE,
    ADAPTER,
    ROWS,
    EMBEDDING,
    SERVERS,
    DISTRIBUTED,
)
SUITES = {suite.name: suite for suite in _ALL}


def suite_of(report: Report) -> Suite:
    """The suite that a report belongs to.

    Raises:
        ValueError: if there is none of that name.
    """
    if report.suite not in SUITES:
        raise ValueError(f"unknown suite {report.suite!r}; choose from {', '.join(SUITES)}")
    return SUITES[report.suite]


def document(report: Report) -> str:
    """The table of a report for a document, in Markdown."""
    suite = suite_of(report)
    return tables.in_document((suite.document or suite.table)(report), report.machine)


def write_chart(report: Report, path: Path) -> None:
    """Draw a report as PNG or SVG, by the ending of the path; nothing if its suite has no chart.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed.
    """
    suite = suite_of(report)
    if suite.draw:
        note = tables.conditions(report.machine)
        digest, warning = csv_io.digest_of(report), machine.busy(report.machine)
        with charts.canvas(path, digest, suite.size(report), note, warning) as figure:
            suite.draw(figure, report)


# Several machines


def side_by_side(reports: Mapping[str, Report]) -> Table:
    """A row for each case, configuration and contender, a column for each machine by name.

    Raises:
        ValueError: if they are not of one suite.
    """
    check_alike(reports)
    every = [row for report in reports.values() for row in report.rows]
    rows = list({(row.case, row.config, row.contender): row for row in every}.values())
    cases = list(dict.fromkeys(row.case for row in rows))
    rows.sort(key=lambda row: cases.index(row.case))

    def time(report: Report, row: Measurement) -> str:
        found = report.find(row.case, row.config, row.contender)
        return tables.duration(found.p50_s) if found else ""

    columns = [CASE, tables.CONFIG, tables.CONTENDER]
    columns += [Column(name, partial(time, report)) for name, report in reports.items()]
    columns = [c for c in columns if c is not tables.CONFIG or len({r.config for r in rows}) > 1]
    return build(rows, columns, 3 - (tables.CONFIG not in columns), "Median time of a step.")


def check_alike(reports: Mapping[str, Report]) -> None:
    """Refuse reports of several suites.

    Raises:
        ValueError: naming them.
    """
    kinds = {name: suite_of(report).name for name, report in reports.items()}
    if len({*kinds.values()}) > 1:
        told = ", ".join(f"{name} of {kind}" for name, kind in kinds.items())
        raise ValueError(f"one table compares reports of one suite, but these are {told}")


def write_comparison(reports: Mapping[str, Report], path: Path) -> None:
    """Draw the reports of several machines in one chart.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed.
        ValueError: if they are not of one suite.
    """
    check_alike(reports)
    note = "\n".join(f"{name}: {tables.conditions(r.machine)}" for name, r in reports.items())
    digest = csv_io.digest_of(*reports.values())
    busy = [f"{name}: {load}" for name, r in reports.items() if (load := machine.busy(r.machine))]
    size = charts.size_of_comparison(reports)
    with charts.canvas(path, digest, size, note, "; ".join(busy)) as figure:
        charts.draw_comparison(figure, reports)
