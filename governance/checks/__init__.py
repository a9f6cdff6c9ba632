"""One file a check; the file name is the registered name."""
