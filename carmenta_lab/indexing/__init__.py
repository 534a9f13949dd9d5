"""What is searched: passages, words, vectors, token codes; one way for a load, a live message and a repair."""
