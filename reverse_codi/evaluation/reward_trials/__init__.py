"""What reward functions make of true and of worthless texts, before any training."""
