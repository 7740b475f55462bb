"""The tests; a package of its own, so that another package that installs a folder `tests` does not hide it."""
