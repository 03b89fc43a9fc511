"""`apprentice simulate`: query strategies replayed on tasks whose answers are known."""
