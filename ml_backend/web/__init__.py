"""The web process: what Label Studio calls."""
