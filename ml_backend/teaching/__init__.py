"""The second master's desk: what the teacher is asked, within which budget, and what its word is worth."""
