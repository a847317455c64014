"""The list of suites; runs them, and shows their results."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from . import charts, csv_io, machine, offload, options, precision, steps, tables, timing
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
            rounds=quantiles.rounds,
            p20_s=quantiles.p20,
            p50_s=quantiles.p50,
            p80_s=quantiles.p80,
        )


# PyTorch's optimizers on the shapes of real models: bench/torch_adapter.py measures them


def adapter_summary(report: Report) -> str:
    """Times of PyTorch's optimizers, a line each."""
    return "\n".join(tables.compared(report, name) for name in report.contenders if name != OURS)


def adapter_table(report: Report) -> Table:
    """A row for each model."""
    names = [name for name in report.contenders if name != OURS]
    columns = [tables.median(report, name) for name in (OURS, *names)]
    caption = f"Median time of a step, and its ratio to that of {OURS}."
    models = Column("parameters", CASE.text)
    return build(report.of(), [models, *columns], 1, caption, grouped=False)


def adapter_headline(report: Report) -> str:
    """One sentence on how PyTorch's fused optimizer compares."""
    ratios = {row.case: report.ratio(row, OURS) for row in report.of("torch fused")}
    return (
        f"Speed-up of `fastadam.torch.AdamW` over PyTorch's fused AdamW: {tables.at_cases(ratios)} "
        f"{tables.hardware(report.machine)}."
    )


def rows_headline(report: Report) -> str:
    """One sentence on how PyTorch's SparseAdam compares."""
    ratios = {row.case: report.ratio(row, OURS) for row in report.of("torch SparseAdam")}
    return (
        f"Speed-up of row-sparse steps over `torch.optim.SparseAdam`: {tables.at_cases(ratios)} "
        f"{tables.hardware(report.machine)}."
    )


def embedding_table(report: Report) -> Table:
    """A row for each way to embed a step."""
    names = [name for name in report.contenders if name != OURS]
    columns = [tables.median(report, name) for name in (OURS, *names)]
    caption = f"Median time of a call, and its ratio to that of {OURS}."
    return build(report.of(), [Column("AdamW in", CASE.text), *columns], 1, caption, grouped=False)


def embedding_headline(report: Report) -> str:
    """One sentence on how optax compares."""
    ratios = {row.case: report.ratio(row, OURS) for row in report.of("optax")}
    return (
        f"Speed-up of `fastadam.jax.adamw` over `optax.adamw`: {tables.at_cases(ratios)} "
        f"{tables.hardware(report.machine)}."
    )


def servers_headline(report: Report) -> str:
    """One sentence on how NumPy compares."""
    ratios = {row.case: report.ratio(row, OURS) for row in report.of("NumPy")}
    return (
        f"Speed-up of a server's step over NumPy: {tables.at_cases(ratios)} "
        f"{tables.hardware(report.machine)}."
    )


ADAPTER = Suite("torch", adapter_table, adapter_summary, adapter_headline)
# Some rows of a table: bench/rows.py measures them
ROWS = Suite("rows", adapter_table, adapter_summary, rows_headline, charts.draw_rows)
# Steps inside other programs: bench/embedding.py measures them
EMBEDDING = Suite("embedding", embedding_table, adapter_summary, embedding_headline)
# Steps of a federated server: bench/servers.py measures them
SERVERS = Suite("servers", adapter_table, adapter_summary, servers_headline)
_ALL = (
    steps.SUITE,
    options.SUITE,
    precision.SUITE,
    offload.SUITE,
    ADAPTER,
    ROWS,
    EMBEDDING,
    SERVERS,
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
    with charts.canvas(path, digest, (10, 5.2), note, "; ".join(busy)) as figure:
        charts.draw_comparison(figure, reports)
