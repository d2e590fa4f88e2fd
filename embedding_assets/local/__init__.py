"""The embedded stack: an OpenAI-compatible server, S3 and DynamoDB as local processes, and demo records."""
