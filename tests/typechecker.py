"""The run-time type checker that the import hook of conftest.py applies to all of ibal."""

from beartype import BeartypeConf, beartype

# An int is welcome where a float is asked for, as type checkers and Python have it (PEP 484).
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
