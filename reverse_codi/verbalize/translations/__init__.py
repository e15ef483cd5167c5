"""What is translated, the rows that come of it, and their verdicts."""
