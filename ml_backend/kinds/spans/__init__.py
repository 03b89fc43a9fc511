"""The kind of labels that mark spans of a text: `Labels`, `HyperTextLabels` and `ParagraphLabels`."""
