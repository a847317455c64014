"""Kernels for the CPU: Numba's compiler, threads, floating-point mode."""
