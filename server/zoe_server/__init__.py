"""Zoe's inference server: an OpenAI-compatible gateway in front of engines that run in processes of their own."""

__version__ = "0.1.0"
