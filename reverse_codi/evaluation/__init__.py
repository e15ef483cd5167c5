"""Whether a translation is true: metrics, controls, intervals."""
