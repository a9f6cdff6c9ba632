"""Simple models that a subject must justify itself against."""
