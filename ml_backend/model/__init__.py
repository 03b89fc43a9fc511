"""The fitted model of a project, its training sample, its drafts and their explanations."""
