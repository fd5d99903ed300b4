"""Where numbers come from: packaged real history now, guarded providers by key."""
