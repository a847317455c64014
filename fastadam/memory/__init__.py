"""Memory: trees of arrays, flat buffers, tables of addresses, and input validation."""
