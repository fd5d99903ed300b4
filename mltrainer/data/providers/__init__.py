"""Who sends the numbers: Polygon (Massive) and FRED, the one way out to them, and what they said before."""
