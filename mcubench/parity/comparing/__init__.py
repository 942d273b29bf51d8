"""A module and a Keras model side by side: run, paired, structure first, then numbers."""
