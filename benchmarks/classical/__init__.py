"""Classical models in C: which are compared, who writes them, and how they are run."""
