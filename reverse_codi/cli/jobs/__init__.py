"""What verbs do that trains, and so lies above the library; the verbs parse and print."""
