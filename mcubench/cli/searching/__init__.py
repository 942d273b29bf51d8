"""``search``: its options, the price of a model before training, trials as runs of ``fit``, and the confirmation."""
