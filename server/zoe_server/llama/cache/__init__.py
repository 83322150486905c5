"""What is already computed: KV cells, the tree of known prefixes, and those kept on disk."""
