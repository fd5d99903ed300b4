"""From forecasts and risk to weights: what may be held, which methods there are, and what one of them says."""
