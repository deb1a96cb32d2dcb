"""Runs that people already have in other tools: read, compared, and decided by the same rules as studies."""
