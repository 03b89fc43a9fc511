"""EvoKD (arXiv 2403.06414): the learner's mistakes, texts written for them, and what these teach."""
