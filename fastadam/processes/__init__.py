"""Several processes: messages, agreement on errors and settings, shared memory."""
