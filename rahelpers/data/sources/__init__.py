"""Where films come from: one module per source, with the interface that `registry` gives."""
