"""Native kernels behind torch custom ops, each with a pure-torch reference."""
