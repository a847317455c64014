"""The memory: trees of arrays, one buffer for all, tables of addresses, and what is refused."""
