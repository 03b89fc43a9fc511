"""The vocabulary of the project: types, ports of the plugins, settings, the registry. It imports nothing else of it."""
