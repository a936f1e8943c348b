"""The processes of an agent: the supervisor, and what it does around its workers."""
