"""What a run leaves behind: a folder with its checkpoints, metrics, result row, plots and table."""
