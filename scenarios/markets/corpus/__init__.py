"""A market made of a corpus of one's own: queries, ads, and human grades of some of their pairs."""
