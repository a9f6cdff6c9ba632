"""Report formats: one module each, named for its format."""
