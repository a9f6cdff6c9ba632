"""Other people's models as Subjects."""
