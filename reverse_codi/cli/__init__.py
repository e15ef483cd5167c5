"""The command `reverse-codi`: one file a verb."""
