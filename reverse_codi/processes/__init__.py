"""The machine and its processes: Ray, memory, signals, stalls, and what a run leaves behind."""
