"""Both frameworks trained side by side, and what Keras' own defaults do."""
