"""Policy packs, one YAML file each, and the crosswalk between guidances."""
