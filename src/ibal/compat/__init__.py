"""Drop-in replacements for other libraries' environments: same names, same arguments, NumPy in and out."""
