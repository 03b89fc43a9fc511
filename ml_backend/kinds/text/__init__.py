"""The kind of labels that are written texts."""
