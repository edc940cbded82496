"""The speed harness: the compiled object beside PyTorch (and other peers) on the same mel, in the same run."""
