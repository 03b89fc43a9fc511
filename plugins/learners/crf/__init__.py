"""A conditional random field that marks spans of texts, on frozen vectors of words."""
