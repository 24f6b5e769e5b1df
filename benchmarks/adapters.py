"""Hold other libraries' games to the contract, those that are installed: sizes, how long, which rule is broken.

python benchmarks/adapters.py                                  # ten of JaxMARL, five of Jumanji
python benchmarks/adapters.py jaxmarl:SMAX/8m --episodes 8
"""

from __future__ import annotations

import argparse
import time

import ibal

GAMES = (
    "jaxmarl:SMAX/3m", "jaxmarl:SMAX/2s3z", "jaxmarl:SMAX/smacv2_5_units", "jaxmarl:MPE_simple_spread_v3",
    "jaxmarl:MPE_simple_reference_v3", "jaxmarl:MPE_simple_speaker_listener_v4", "jaxmarl:switch_riddle",
    "jaxmarl:overcooked", "jaxmarl:overcooked_v2/cramped_room", "jaxmarl:hanabi", "jumanji:LevelBasedForaging-v0",
    "jumanji:RobotWarehouse-v0", "jumanji:Connector-v3", "jumanji:Cleaner-v0", "jumanji:MMST-v0",
)  # fmt: skip


def main() -> int:
    """Check every game and return the number of those that broke a rule or could not be made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("games", nargs="*", default=GAMES)
    parser.add_argument("--episodes", type=int, default=2)
    options = parser.parse_args()
    broken = 0
    for name in options.games:
        begin = time.monotonic()
        try:
            env = ibal.make(name)
            ibal.check_env(env, episodes=options.episodes)
            spec = env.spec
            sizes = f"sees {spec.obs_size}, state {spec.state_size}"
            said = f"ok      {spec.n_agents} agents, {spec.n_actions} actions, {sizes}"
        except (ibal.ConfigError, ibal.ContractError) as error:
            broken += 1
            said = f"BROKEN  {error}"
        print(f"{name:<40}{said} ({time.monotonic() - begin:.0f} s)", flush=True)
    return broken


if __name__ == "__main__":
    raise SystemExit(main())
