"""mlTrainer."""
