"""What is searched, derived from the product: the tables of the schema `search`."""
