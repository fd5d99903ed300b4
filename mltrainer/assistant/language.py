"""A language model over the same tools: it chooses and words, and every figure is put in by the renderer."""
