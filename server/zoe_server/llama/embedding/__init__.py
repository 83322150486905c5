"""The worker of models that make embeddings."""
