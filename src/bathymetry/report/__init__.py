"""The page: one self-contained file that says what was found."""
