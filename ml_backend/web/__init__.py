"""The web process: the endpoints that Label Studio and operators call."""
