"""OpenAI Batch API embeddings, turned into ChromaDB snapshots on S3 that an application can trust."""
