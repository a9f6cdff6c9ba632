"""Networks, one file a model."""
