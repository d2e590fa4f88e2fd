"""Does this bucket, this table and this key really do what the product relies on?"""
