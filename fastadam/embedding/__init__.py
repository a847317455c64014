"""Embedding: kernels of optimizers inside other compiled code, without an optimizer object."""
