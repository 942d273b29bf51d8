"""Two models, whatever they come from, compared as graphs: layer by layer where their layers follow each other alike."""
