"""From forecasts to decisions."""
