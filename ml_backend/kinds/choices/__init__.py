"""Answers that choose among the labels of a <Choices> control."""
