"""What is kept: files and folders written whole or not at all, what they must hold, and where they go."""
