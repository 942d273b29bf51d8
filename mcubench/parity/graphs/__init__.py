"""Two models, whatever they come from, compared as graphs: layer by layer where their layers are in the same order."""
