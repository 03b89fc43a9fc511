"""`python -m ml_backend.cli` is the command `apprentice`."""

from ml_backend.cli.main import main

main()
