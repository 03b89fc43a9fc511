"""Aggregates the labels and the accepted drafts of a project, task by task as annotations change."""
