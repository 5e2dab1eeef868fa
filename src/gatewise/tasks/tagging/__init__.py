"""Sequence tagging: what ``SequenceTagger`` is made of, and what scores tags and spans."""
