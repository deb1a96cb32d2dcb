"""From settings to stored results: what is there is reused, what is missing is trained."""
