"""From bars to what a model sees: scale-free columns, each a row of a table that states unit, warm-up and needs."""
