"""What reasoners thought: the store on disk, collecting, importing."""
