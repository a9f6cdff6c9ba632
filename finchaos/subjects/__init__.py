"""The stack's models as Subjects, one name each."""
