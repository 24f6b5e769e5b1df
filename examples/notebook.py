"""A notebook in ten lines, cell by cell: python examples/notebook.py"""

# %%
import ibal

run = ibal.train("smac/3m", preset="laptop", steps=20_000)  # a minute or two; no folder is written
run.figure()
# %%
attack = ibal.fit("interaction", run.teams[0], episodes=128, steps=200)
table = ibal.evaluate(run.teams, ["natural", "random", attack], ["none", "dis-1"], episodes=256)
table  # shows itself  # noqa: B018  # pyright: ignore
# %%
table.figure()
ibal.watch(run.teams[0], ["natural", attack])
