"""The benchmark of low precision: parameters, gradients and state in less memory.

`fastadam bench --low-precision` runs it.
[configurations][fastadam.bench.low_precision.configurations] says what is kept how,
[contenders][fastadam.bench.low_precision.contenders] who takes the steps,
[validation][fastadam.bench.low_precision.validation] how they are checked.
"""
