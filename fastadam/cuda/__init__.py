"""GPU support: arrays, streams, kernels, and steps whose results are fetched later."""
