"""Measures and reports how well the loop works: monitor, status, doctor, metrics."""
