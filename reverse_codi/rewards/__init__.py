"""What a reward function sees, how it is declared and found, and how several are run and combined."""
