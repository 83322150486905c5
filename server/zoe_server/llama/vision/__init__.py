"""Pictures: what they become in a prompt, and who computes them."""
