"""Retrieval and context experiments over conversations kept in PostgreSQL."""
