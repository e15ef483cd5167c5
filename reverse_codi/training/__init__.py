"""The method, part by part: preparation, GRPO, rollouts, sync, what a run writes down."""
