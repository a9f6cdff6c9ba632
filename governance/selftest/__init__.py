"""The validator's own validation: known defects are planted in sound models, and must be found."""
