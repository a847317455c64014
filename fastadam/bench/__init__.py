"""Benchmarks: contenders of one optimizer step, validated, then timed in turns.

`fastadam bench` runs them. The suites ([suites][fastadam.bench.suites]) are
[steps][fastadam.bench.steps]: whole steps; [options][fastadam.bench.options]: a step with gradient
clipping, averages and other options; [precision][fastadam.bench.precision]: other dtypes. All of
them share [validation][fastadam.bench.validation], [timing][fastadam.bench.timing],
[measurement][fastadam.bench.measurement], tables and charts.
"""
