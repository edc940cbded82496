"""vocosc: compiles a Streaming Vocos checkpoint into one static object (see README.md)."""

VERSION = "0.1.0"
