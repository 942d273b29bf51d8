"""Models in files of others, as the same graphs that modules are traced to."""
