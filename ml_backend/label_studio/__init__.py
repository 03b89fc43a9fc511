"""Label Studio's JSON and API."""
