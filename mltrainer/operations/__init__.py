"""What keeps an installation alive for years: backups, what may go, who approved what, and what a copy can prove."""
