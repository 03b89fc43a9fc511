"""`make demo`: Label Studio, the backend and real data on one machine."""
