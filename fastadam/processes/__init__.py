"""Several processes: what they send each other, agree on, and have in common."""
