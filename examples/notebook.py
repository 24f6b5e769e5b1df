"""A notebook in ten lines, cell by cell: python examples/notebook.py"""

# %%
import ibal

run = ibal.train("smac/3m", preset="laptop", steps=20_000)
run.figure()
# %%
attack = ibal.fit("interaction", run.teams[0], episodes=128, steps=200)
attacks = ["natural", "random", attack]
table = ibal.evaluate(run.teams, attacks, ["none", "dis-1"], episodes=256)
table  # shows itself
# %%
table.figure()
ibal.watch(run.teams[0], ["natural", attack])
