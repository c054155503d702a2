"""`python -m rahelpers` is the same as `rahelpers`."""

from rahelpers.cli import main

main()
