"""What every room uses: configuration, the terminal, tables, statistics."""
