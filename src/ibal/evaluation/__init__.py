"""Playing policies and measuring what they achieve."""
