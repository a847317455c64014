"""Everything for GPUs: arrays, streams, kernels and steps whose outcome is known later."""
