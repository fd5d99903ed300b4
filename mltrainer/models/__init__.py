"""Models: one readable line per name, one contract for all; knows estimators and nothing of markets."""
