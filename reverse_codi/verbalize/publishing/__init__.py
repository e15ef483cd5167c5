"""Verbalizers for others: their folders, their cards, and what plain libraries load."""
