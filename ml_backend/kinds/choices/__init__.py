"""Tasks whose annotators choose among the labels of a <Choices> control."""
