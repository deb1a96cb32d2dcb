"""What everything stands on: errors, random streams, content hashes, files, memory and signals."""
