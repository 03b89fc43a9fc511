"""Renders results as text for people: sentences, lines and pages."""
