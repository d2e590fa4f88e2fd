"""Further targets: servers that hold what is published, fed by each version's changes."""
