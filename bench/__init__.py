"""Each figure beside its anchor, in one run: `make bench`, or `make bench ONLY=grouping`."""
