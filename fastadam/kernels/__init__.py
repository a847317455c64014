"""The compiler of kernels: a loop, composed with a rule, its storages and its options.

State of the process: compiled kernels are cached for its lifetime (`factory.py`), since LLVM never
frees code; the number of threads and the threading layer (`cpu/threads.py`) and the OpenMP library
in use (`cpu/openmp.py`) are the same for all optimizers.
"""
