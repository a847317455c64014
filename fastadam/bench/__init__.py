"""The benchmark of the library: contenders of one step, checked, then timed side by side.

`fastadam bench` runs it; [contenders][fastadam.bench.contenders] says what is compared and on
which memory, [validation][fastadam.bench.validation] how it is checked,
[timing][fastadam.bench.timing] how it is timed. [tail][fastadam.bench.tail] is about what surrounds
a step, [low_precision][fastadam.bench.low_precision] about other dtypes.
"""
