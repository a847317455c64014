"""Benchmarks: contenders of one optimizer step, validated, then timed in turns.

`fastadam bench` runs them. The suites (`suites`) are
`steps`: whole steps; `options`: a step with gradient
clipping, averages and other options; `precision`: other dtypes. All of
them share `validation`, `timing`,
`measurement`, tables and charts.
"""
