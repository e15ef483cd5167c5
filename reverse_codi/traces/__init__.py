"""Traces of reasoners: the store on disk, collecting, importing."""
