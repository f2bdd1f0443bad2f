"""From what a driver was asked to do, and what was seen of it from inside and from outside, to a verdict. Pure."""
