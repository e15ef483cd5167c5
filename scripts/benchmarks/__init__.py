"""What `scripts/bench` measures: each part of this package against what a user would write without it."""
