"""The teacher: what it is asked, within which budget, how reliable its labels are, and what they teach the learner."""
