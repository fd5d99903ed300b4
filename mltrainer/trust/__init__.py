"""Real data, provably: where every number came from, what is let in, and the trail of what was done."""
