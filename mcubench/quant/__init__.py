"""Quantised arithmetic: fake quantisation for training, and the integer graph as TFLite Micro computes it."""
