"""Which model and which data a command is about, and what its options may be."""
