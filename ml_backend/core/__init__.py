"""Types, ports of plugins, settings and the registry of plugins. Imports nothing else of the project."""
