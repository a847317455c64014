"""The benchmark of the tail of a training step: what a loop does to gradients before an update, and
to parameters after it.

`fastadam bench --tail` runs it. [tails][fastadam.bench.tail.tails] says what is done,
[contenders][fastadam.bench.tail.contenders] who does it how,
[validation][fastadam.bench.tail.validation] how they are checked.
"""
