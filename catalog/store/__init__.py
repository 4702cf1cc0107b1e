"""The database of a catalog, and how workers' parts come into it."""
