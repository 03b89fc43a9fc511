"""The command `apprentice`: a module for each group of commands, put together in `main`."""
