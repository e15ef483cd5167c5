"""The policy: a LoRA on the reasoner's own language model that reads vectors and writes text."""
