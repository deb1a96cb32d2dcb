"""What everything stands on: errors, random streams, whole-file storage."""
