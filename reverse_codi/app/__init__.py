"""A page on which a person asks, reads the thoughts, and changes one: Gradio over the public `Verbalizer`."""
