"""Evaluation: does a strategy find what belongs together, and what does it look like?"""
