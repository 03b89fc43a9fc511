"""The command `apprentice`: a module for each command or group of commands; `main` registers them."""
