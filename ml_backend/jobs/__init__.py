"""Who runs the rounds: worker processes, and the supervisor that keeps them and the web process alive."""
