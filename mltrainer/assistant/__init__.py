"""Questions in plain words: typed tools answer them, and every figure comes from a tool result."""
