"""What is measured: the tables of the schema `lab`."""
