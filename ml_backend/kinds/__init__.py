"""Code that is specific to one kind of label."""
