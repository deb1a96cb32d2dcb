"""What is stored: chunks by the hash of their config, results with a schema, provenance and tables."""
