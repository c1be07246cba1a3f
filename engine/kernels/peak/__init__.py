"""Register loops: what the arithmetic units of a core can do at most."""
