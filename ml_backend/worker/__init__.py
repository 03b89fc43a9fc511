"""Worker processes, which run the rounds, and the supervisor of the worker and web processes."""
