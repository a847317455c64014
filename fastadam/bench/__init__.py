"""Benchmarks: contenders of one optimizer step, validated, then timed in turns.

`fastadam bench` runs them. A suite ([suites][fastadam.bench.suites]) says what is compared:
[steps][fastadam.bench.steps] whole steps, [options][fastadam.bench.options] a step with clipping,
averages and the like, [precision][fastadam.bench.precision] other dtypes. One
[validation][fastadam.bench.validation], one [timing][fastadam.bench.timing], one
[measurement][fastadam.bench.measurement], one set of tables and of charts serve all of them.
"""
