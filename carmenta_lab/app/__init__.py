"""What an assistant asks all day: one statement each, built apart from its execution, columns and not entities.

Every statement names its user beside row-level security, and none shows what was deleted softly. Those that read a
list take a `limit`; the session is the caller's, inside `postgres.as_user`.
"""
