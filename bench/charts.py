"""Derive charts and figures from reports, `bench/results/*.csv`: no figure in a document is typed.

NAME.csv becomes the chart `docs/assets/NAME.png`, if its suite has one. In README.md and docs/, the
text between `<!-- bench:VIEW -->` and `<!-- /bench -->` becomes a view of bench.csv (`bench:VIEW
NAME` takes another file); the views are headline, summary and table. `bench:gpus` becomes summary,
chart and table of every gpu-NAME.csv. The files in `bench/results/machines/`, which anybody may
add, become one chart, `docs/assets/machines.png`, and `bench:machines` a table of all of them.
With `--check` nothing is written, but what is stale is named, and the exit status is 1 if anything
is.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from fastadam.bench.charts import is_drawn_from
from fastadam.bench.csv_io import digest_of, read_report
from fastadam.bench.measurement import OURS, Report
from fastadam.bench.script import Parser, run_script
from fastadam.bench.suites import document, side_by_side, suite_of, write_chart, write_comparison
from fastadam.bench.tables import conditions, in_document

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(
    r"(<!-- bench:(?P<view>\w+)(?: (?P<name>[\w-]+))? -->\n).*?(<!-- /bench -->)", re.DOTALL
)
VIEWS = {
    "headline": lambda report: suite_of(report).headline(report),
    "summary": lambda report: suite_of(report).summary(report).replace("\n", "  \n"),
    "table": document,
}
Reports = dict[str, Report]


def gpus(reports: Reports) -> str:
    """Summary, chart and table of each GPU."""
    measured = [(name, report) for name, report in reports.items() if name.startswith("gpu-")]
    texts = [
        f"### {report.machine['gpu']}, {report.machine['dtype']}\n\n{VIEWS['summary'](report)}\n\n"
        f"![Time of a step against the number of elements, for each contender]"
        f"(assets/{name}.png)\n\n{VIEWS['table'](report)}\n\n"
        f"Bandwidth of a large copy inside its memory: {report.machine['copy bandwidth']}, reads "
        f"and writes together. Time that a step occupies the host: "
        f"{report.machine['host time of a step']}.\n"
        for name, report in measured
    ]
    return "\n".join(texts)


def machines(root: Path) -> Reports:
    """The reports of machines that anybody has added, by name."""
    paths = sorted((root / "bench/results/machines").glob("*.csv"))
    return {path.stem: read_report(path) for path in paths}


def machines_table(reports: Reports) -> str:
    """Times of a step of fastadam and of its nearest rival on each machine, and its conditions."""
    rivals = ("torch fused", OURS)
    shown = {
        name: replace(report, rows=[row for row in report.rows if row.contender in rivals])
        for name, report in reports.items()
    }
    told = "  \n".join(f"{name}: {conditions(each.machine)}" for name, each in reports.items())
    return f"{in_document(side_by_side(shown))}\n\n{told}" if reports else ""


def results(root: Path) -> Reports:
    """The reports by name; other files there are of the scripts that bear their name."""
    paths = sorted((root / "bench/results").glob("*.csv"))
    return {path.stem: read_report(path) for path in paths if _is_report(path)}


def _is_report(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8").splitlines()
    return any(line.startswith("suite,") for line in lines)


def stale_charts(root: Path, reports: Reports) -> Iterator[tuple[Path, Callable[[], None]]]:
    """The charts that are missing or were drawn from other numbers, each with a call to draw it."""
    for name, report in reports.items():
        path = root / "docs/assets" / f"{name}.png"
        if suite_of(report).draw and not is_drawn_from(digest_of(report), path):
            yield path, partial(write_chart, report, path)
    added, path = machines(root), root / "docs/assets/machines.png"
    if added and not is_drawn_from(digest_of(*added.values()), path):
        yield path, partial(write_comparison, added, path)


def stale_documents(root: Path, reports: Reports) -> Iterator[tuple[Path, str]]:
    """The documents that differ from the reports, with the text they should have."""

    def filled(block: re.Match[str]) -> str:
        start, view, name, end = block.groups()
        if view == "gpus":
            return f"{start}{gpus(reports)}{end}"
        if view == "machines":
            return f"{start}{machines_table(machines(root))}\n{end}"
        if view not in VIEWS:
            views = ", ".join((*VIEWS, "gpus", "machines"))
            raise ValueError(f"bench:{view} is not a view; there are {views}")
        if name and name not in reports:
            raise ValueError(f"bench:{view} {name}: bench/results/{name}.csv does not exist")
        report = reports.get(name or "bench")
        return f"{start}{VIEWS[view](report)}\n{end}" if report else f"{start}{end}"

    for path in (root / "README.md", *sorted((root / "docs").rglob("*.md"))):
        text = path.read_text(encoding="utf-8")
        if (new := BLOCK.sub(filled, text)) != text:
            yield path, new


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Write what is stale, or with `--check` only name it; return the exit status."""
    parser = Parser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if anything is stale")
    check = parser.parse_args(arguments).check
    reports = results(root)
    charts, documents = [*stale_charts(root, reports)], [*stale_documents(root, reports)]
    if not check:
        for path, draw in charts:
            path.parent.mkdir(parents=True, exist_ok=True)
            draw()
        for path, text in documents:
            path.write_text(text, encoding="utf-8")
    for path, _ in (*charts, *documents):
        print("stale:" if check else "wrote", path.relative_to(root).as_posix())
    return int(check and bool(charts or documents))


if __name__ == "__main__":
    run_script(main)
