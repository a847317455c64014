"""The machine: one template, composed with a rule, its storages and its options, then compiled."""
