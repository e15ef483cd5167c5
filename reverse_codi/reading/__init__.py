"""Reading texts with the frozen model, and how near a text comes to a thought."""
