"""Markets: loading, built-in sets, data quality and simulation. Everything ends in Bars."""
