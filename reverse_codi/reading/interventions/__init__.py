"""What happens to the answer when a thought is replaced: the causal side of evaluation."""
