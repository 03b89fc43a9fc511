"""A fitted model: what it was fitted on, its drafts and their explanations."""
