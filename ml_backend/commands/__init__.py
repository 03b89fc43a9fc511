"""The parts of the command `apprentice`; `ml_backend.cli` puts them together."""
