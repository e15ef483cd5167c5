"""`python -m reverse_codi.verbalize ...` is `reverse-codi verbalize ...`."""

import runpy
import sys

# By name: the command imports this package, never the other way round.
sys.argv[1:1] = ["verbalize"]
runpy.run_module("reverse_codi.cli", run_name="__main__")
