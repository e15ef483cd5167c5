"""The schema of recipes: one section a stage, and how a recipe is read."""
