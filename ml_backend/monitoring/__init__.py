"""How well the loop works: monitor, status, health, metrics."""
