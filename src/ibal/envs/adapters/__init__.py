"""Other people's environments as environments of this library, by the name of their library and their own:

    ibal.make("jaxmarl:SMAX/2s3z")          ibal.make("jumanji:LevelBasedForaging-v0")          compiled
    ibal.make("pettingzoo:mpe2.simple_spread_v3")                                             played from Python

A further library is a module here with ``make(name, **options) -> Env`` and one line in ``envs/__init__.py``. Worlds
that are played from Python need ``game.host``: PettingZoo's are in ``game/parallel.py``.
"""
