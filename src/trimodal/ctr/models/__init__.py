"""Systems that predict clicks, a file each, under the contract of `base.py`."""
