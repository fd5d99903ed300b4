"""Proofs that anybody can run: no look-ahead, and every model the real thing."""
