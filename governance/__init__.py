"""The validation harness: checks, policy, records, sign-off. Runs without torch."""
