"""The pages, and what makes those of them that are made from the code."""
