"""In all tests, every shape that a signature of the network states is checked at every call."""

from shape_checker import check_all

check_all()
