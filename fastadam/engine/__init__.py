"""One step on the host: groups, gradients, state, launches, and the order of their use."""
