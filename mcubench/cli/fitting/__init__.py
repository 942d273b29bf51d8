"""Fits: one by LightningCLI, several, those of a suite; and what happens when they end."""
