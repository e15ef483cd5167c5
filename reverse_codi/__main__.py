"""`python -m reverse_codi VERB ...` is `reverse-codi VERB ...`."""

from reverse_codi.cli.main import main

main()
