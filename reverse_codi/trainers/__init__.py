"""What a transformers `Trainer` is given: its checkpoints, its stop on a signal, its progress."""
