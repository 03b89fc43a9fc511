"""The active-learning loop: one round, the order of the queue, and rollback."""
