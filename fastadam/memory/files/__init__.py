"""Arrays in memory-mapped files, and launches that stream through them."""
