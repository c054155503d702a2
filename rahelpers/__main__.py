"""`python -m rahelpers` is the same as `rahelpers`."""

from rahelpers.cli.main import main

main()
