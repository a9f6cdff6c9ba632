"""Statistics that checks share."""
