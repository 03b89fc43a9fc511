"""A writer that edits words of the source, as accepted texts have edited them."""
