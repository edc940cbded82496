"""Training of Streaming Vocos models in PyTorch: `python -m train`. See README.md here."""
