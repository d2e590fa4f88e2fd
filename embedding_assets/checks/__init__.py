"""Asset checks: what must hold after each execution, looked up again in the bucket and the table."""
