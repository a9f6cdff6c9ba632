"""Historical stress scenarios: one YAML file each, windows of returns and documented facts.

Data only; :mod:`governance.scenario` reads it.
"""
