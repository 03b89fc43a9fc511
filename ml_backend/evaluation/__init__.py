"""Measures over arrays of predictions and targets: accuracy, promotion, label errors, when to stop."""
