"""How good a learner is, and whether a new one may replace the old."""
