"""What goes to production: the tables of the schema `carmenta`, a file a domain."""
