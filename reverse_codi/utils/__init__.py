"""What every room uses: configuration, files, the terminal, checks of the machine, statistics."""
