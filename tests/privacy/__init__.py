"""Recipients, erasure, export: what is stored of people, and that it goes."""
