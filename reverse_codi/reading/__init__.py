"""Reading text with the frozen model, and how near that comes to a thought."""
